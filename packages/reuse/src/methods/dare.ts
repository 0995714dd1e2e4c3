/**
 * DARE (arXiv 2311.03099): drop entries of each task vector at random, keep a share `density`, rescale what is left; then merge linearly
 * (`dare-linear`) or by elected signs (`dare-ties`).
 * The paper rescales by 1/density (`mode: paper`); mergekit so that the L1 norm of the tensor is what it was.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { sparseFields, sparseModelFields } from "../merging/sparse-fields.js";
import { mergeSparse, type Sparsifier } from "../merging/sparse-task-vectors.js";
import { randomMask, randomSparsifier } from "../merging/sparsify.js";

export const dare = defineMerge({
  id: "dare",
  summary: "Drops entries of task vectors at random and rescales the rest before merging.",
  paper: {
    title: "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch",
    arxiv: "2311.03099",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  mergekit: ["dare_linear", "dare_ties"],
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared: {
    ...sparseFields({ consensus: "none", normalize: false, rescale: true }),
    mode: z.enum(["mergekit", "paper"]).default("mergekit").describe("rescale to the same L1 norm (mergekit) or by 1/density (paper)"),
  },
  perModel: sparseModelFields,
  presets: {
    "dare-linear": { summary: "task vectors are added", config: { consensus: "none" } },
    "dare-ties": { summary: "signs are elected as by TIES", config: { consensus: "sum" } },
  },
  merge: (tensor) => {
    const masks = tensor.models.map(({ parameters: { density } }, i) =>
      density < 1 ? randomMask(tensor.rng.split(i), density) : undefined,
    );
    mergeDropped(tensor, randomSparsifier(masks));
  },
});

interface DareParameters {
  readonly consensus: "none" | "sum";
  readonly lambda: number;
  readonly normalize: boolean;
  readonly rescale: boolean;
  readonly mode: "mergekit" | "paper";
}

/** The merge once it is known what is dropped. */
export function mergeDropped(
  tensor: MergeTensor<DareParameters, { readonly weight: number; readonly density: number }>,
  drop: Sparsifier,
): void {
  const { rescale, mode } = tensor.parameters;
  const densities = tensor.models.map((m) => m.parameters.density);
  mergeSparse(tensor, {
    ...tensor.parameters,
    weights: tensor.models.map((m) => m.parameters.weight),
    rescale: rescale && (mode === "paper" ? densities.map((d) => (d > 0 ? 1 / d : 1)) : densities.some((d) => d < 1)),
    begin: () => drop,
  });
}
