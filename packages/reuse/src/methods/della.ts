/**
 * DELLA (arXiv 2406.11617): drops entries of task vectors at random, small ones more often: within a row (along the second axis; a vector is
 * one row) the chance to stay grows linearly with the rank by magnitude, from density − ε to density + ε. What is left is rescaled and merged
 * with elected signs (`della`, as TIES, divided by the weights that agree) or linearly (`della-linear`).
 * The paper rescales each entry by 1/(its chance); mergekit, as here, all so that the L1 norm of the tensor is what it was.
 * Masks come from the seed, the tensor's name and the model's place; entries are drawn in the order of the tensor.
 */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { keepMarked } from "../merging/order-statistics.js";
import { sparseFields, sparseModelFields } from "../merging/sparse-fields.js";
import { mergeSparse, sparsifier } from "../merging/sparse-task-vectors.js";
import { drawMask, MagnitudeSorter, rankProbabilities } from "../merging/sparsify-rank.js";

const shared = sparseFields({ consensus: "sum", normalize: true, rescale: true });
const perModel = {
  ...sparseModelFields,
  epsilon: z.number().min(0).max(0.5).default(0.15).describe("how far chances go from the density; density ± ε lies within (0, 1)"),
};
type DellaTensor = MergeTensor<z.output<z.ZodObject<typeof shared>>, z.output<z.ZodObject<typeof perModel>>>;

export const della = defineMerge({
  id: "della",
  summary: "Drops small entries of task vectors more often than large ones, at random, and rescales the rest before merging.",
  paper: {
    title: "DELLA-Merging: Reducing Interference in Model Merging through Magnitude-Based Sampling",
    arxiv: "2406.11617",
    year: 2024,
    survey: "5.1 weight interpolation",
  },
  mergekit: ["della", "della_linear"],
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared,
  perModel,
  presets: {
    della: { summary: "signs are elected as by TIES", config: { consensus: "sum", normalize: true } },
    "della-linear": { summary: "task vectors are added", config: { consensus: "none", normalize: false } },
  },
  merge: (tensor) =>
    mergeDella(tensor, (model) => {
      const rng = tensor.rng.split(model);
      return (probabilities, mask) => drawMask(rng, probabilities, mask);
    }),
});

/** Fills `mask` with 1 for entries that stay and 0 for those that go. Called on runs in the order of the tensor. */
export type Draw = (probabilities: Float32Array, mask: Uint8Array) => void;

/**
 * The merge with masks from elsewhere: `draws` starts one model's stream of them, the same for each pass.
 * @throws {LfmError} CONFIG_INVALID where density ± ε leaves (0, 1)
 */
export function mergeDella(tensor: DellaTensor, draws: (model: number) => Draw): void {
  const settings = tensor.models.map((m) => m.parameters);
  for (const { density, epsilon } of settings)
    if (density > 0 && density < 1 && (density + epsilon >= 1 || density - epsilon <= 0))
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] della: density ${density} ± epsilon ${epsilon} leaves (0, 1)`, {
        hint: `epsilon below ${Math.min(density, 1 - density)}`,
      });
  const { shape, elements } = tensor;
  const length = shape.length < 2 ? elements : shape[1]!;
  const align = shape.length < 2 ? elements : elements / shape[0]!;
  const sorter = new MagnitudeSorter(length);
  let [probabilities, mask] = [new Float32Array(0), new Uint8Array(0)];
  const dense = settings.every((s) => s.density >= 1);
  mergeSparse(tensor, {
    ...tensor.parameters,
    weights: settings.map((s) => s.weight),
    ...(dense ? { rescale: false } : { align }),
    begin: () => {
      const draw = settings.map((_, i) => draws(i));
      return sparsifier((values, model) => {
        const { density, epsilon } = settings[model]!;
        if (density >= 1) return;
        if (density <= 0) {
          values.fill(0);
          return;
        }
        if (mask.length !== values.length) [probabilities, mask] = [new Float32Array(values.length), new Uint8Array(values.length)];
        rankProbabilities(values, sorter, align / length, density, epsilon, probabilities);
        draw[model]!(probabilities, mask);
        keepMarked(values, mask);
      });
    },
  });
}
