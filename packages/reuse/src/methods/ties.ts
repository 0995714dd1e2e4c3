/**
 * TIES (arXiv 2306.01708): trim each task vector to its largest magnitudes, elect a sign per entry by the weighted sum
 * (a tie counts as +), average the entries that agree, scale by λ.
 * As mergekit: trimming per tensor, exactly ⌊density·n⌋ entries (at least one), the divisor is the sum of the weights that agree.
 * The paper trims over the whole model and keeps every entry that reaches the limit (`mode: paper`).
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { selectThresholds, type Threshold } from "../merging/radix-select.js";
import { sparseModelFields } from "../merging/sparse-fields.js";
import { mergeSparse, sparsifier } from "../merging/sparse-task-vectors.js";
import { keepLargest } from "../merging/sparsify.js";
import { toTaskVectors } from "../merging/task-vectors.js";
import { countMagnitudes, modelThresholds } from "../merging/whole-model.js";

const shared = {
  lambda: z.number().default(1).describe("scale λ of the merged task vector"),
  normalize: z.boolean().default(true).describe("divide by the weights that agree; off: sum"),
  rescale: z.boolean().default(false).describe("scale what is left of a task vector to the L1 norm that it had"),
  mode: z
    .enum(["mergekit", "paper"])
    .default("mergekit")
    .describe("limit of magnitude per tensor (mergekit) or over the whole model (paper)"),
};

export const ties = defineMerge({
  id: "ties",
  summary: "Trims task vectors, elects a sign per entry and averages what agrees.",
  paper: {
    title: "TIES-Merging: Resolving Interference When Merging Models",
    arxiv: "2306.01708",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared,
  perModel: sparseModelFields,
  presets: { paper: { summary: "trim over the whole model, keep 20 %", config: { mode: "paper", density: 0.2 } } },
  survey: {
    rounds: ({ mode }) => (mode === "paper" ? 2 : 0),
    count: (tensor) => countMagnitudes(tensor, densities(tensor)),
  },
  merge: (tensor) => {
    const density = densities(tensor);
    const thresholds = tensor.parameters.mode === "paper" ? modelThresholds(tensor.totals, density) : thresholdsOf(tensor, density);
    mergeSparse(tensor, {
      ...tensor.parameters,
      weights: tensor.models.map((m) => m.parameters.weight),
      consensus: "sum",
      begin: () => {
        const left = thresholds.map((t) => ({ equal: t?.equal ?? 0 }));
        return sparsifier((values, model) => {
          if (thresholds[model]) keepLargest(values, thresholds[model], left[model]!);
        });
      },
    });
  },
});

function densities(tensor: MergeTensor<unknown, { readonly density: number }>): number[] {
  return tensor.models.map((m) => m.parameters.density);
}

/** undefined: everything stays. */
function thresholdsOf(tensor: MergeTensor<unknown, unknown>, density: readonly number[]): (Threshold | undefined)[] {
  if (tensor.elements === 0 || density.every((d) => d >= 1)) return density.map(() => undefined);
  const keep = density.map((d) => Math.min(tensor.elements, Math.max(1, Math.floor(d * tensor.elements))));
  const found = selectThresholds(tensor, keep, toTaskVectors);
  // Nothing is above all bits: with density 0 nothing stays.
  return found.map((t, i) => (density[i]! >= 1 ? undefined : density[i]! <= 0 ? { limit: 0x7fffffff, equal: 0 } : t));
}
