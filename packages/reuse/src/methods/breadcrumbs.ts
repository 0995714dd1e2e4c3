/**
 * Model Breadcrumbs (arXiv 2312.06795): drops of each task vector the largest magnitudes (outliers, a share `gamma`) and the smallest, so that
 * a share `density` stays, and adds what is left: θ₀ + λ·Σ wᵢ·mask(τᵢ). `breadcrumbs-ties` elects signs as TIES does.
 * As mergekit 0.1.5: of n entries ⌊density·n⌋ stay, under ⌊gamma·n⌋ outliers; where both do not fit, fewer outliers go. (0.1.4 and before
 * zeroed the whole task vector where ⌊gamma·n⌋ = 0.) The paper masks per layer as well, with β = 1 − density and gamma as quantiles.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { keepMarked, markLargest, orderStatistics } from "../merging/order-statistics.js";
import type { Threshold } from "../merging/radix-select.js";
import { sparseFields, sparseModelFields } from "../merging/sparse-fields.js";
import { mergeSparse, sparsifier } from "../merging/sparse-task-vectors.js";
import { toTaskVectors } from "../merging/task-vectors.js";

export const breadcrumbs = defineMerge({
  id: "breadcrumbs",
  summary: "Drops the largest and the smallest entries of task vectors before merging.",
  paper: {
    title: "Model Breadcrumbs: Scaling Multi-Task Model Merging with Sparse Masks",
    arxiv: "2312.06795",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  mergekit: ["breadcrumbs", "breadcrumbs_ties"],
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared: sparseFields({ consensus: "none", normalize: false, rescale: false }),
  perModel: {
    ...sparseModelFields,
    gamma: z.number().min(0).max(1).default(0.01).describe("share of entries that go because they are the largest"),
  },
  presets: {
    breadcrumbs: { summary: "task vectors are added", config: { consensus: "none" } },
    "breadcrumbs-ties": { summary: "signs are elected as by TIES", config: { consensus: "sum" } },
  },
  merge: (tensor) => {
    const n = tensor.elements;
    const places = tensor.models.map(({ parameters: { density, gamma } }) => {
      const kept = Math.floor(Math.min(1, density) * n);
      const dropped = Math.min(Math.floor(gamma * n), n - kept);
      return density >= 1 ? [0, n] : [dropped, dropped + kept];
    });
    const sparse = tensor.models.some((m) => m.parameters.density < 1);
    const found = sparse
      ? orderStatistics(
          places.length,
          () => places,
          (count) =>
            tensor.read((chunk) => {
              toTaskVectors(chunk);
              for (const [i, values] of chunk.models.entries()) count(i, values);
            }),
        )
      : [];
    mergeSparse(tensor, {
      ...tensor.parameters,
      weights: tensor.models.map((m) => m.parameters.weight),
      begin: () => {
        const left = found.map((thresholds) => thresholds.map((t) => t.equal));
        let [outlier, kept] = [new Uint8Array(0), new Uint8Array(0)];
        return sparsifier((values, model) => {
          if (tensor.models[model]!.parameters.density >= 1) return;
          if (kept.length < values.length) [outlier, kept] = [new Uint8Array(values.length), new Uint8Array(values.length)];
          const [top, all] = found[model]! as [Threshold, Threshold];
          const own = left[model]!;
          own[0] = markLargest(values, top, own[0]!, outlier);
          own[1] = markLargest(values, all, own[1]!, kept);
          for (let j = 0; j < values.length; j++) kept[j] = kept[j]! & ~outlier[j]!;
          keepMarked(values, kept);
        });
      },
    });
  },
});
