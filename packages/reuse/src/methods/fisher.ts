/**
 * Fisher merging (arXiv 2111.09832, equation 3): θ = Σ cᵢ(Fᵢ + floor)θᵢ / Σ cᵢ(Fᵢ + floor), elementwise, Fᵢ the mean squared gradients of
 * model i. As fusion_bench, cᵢ = wᵢ/(‖Fᵢ‖₂ + floor) where Fisher weights are normalised, the norm taken over all tensors. Parameters without
 * statistics are averaged by wᵢ.
 */
import { LfmError } from "@lfm/core";
import { addDigits, DIGITS, fromDigits } from "@lfm/core/linalg";
import { z } from "zod";
import { eachChunk, withScratch } from "../data-driven/scratch.js";
import { defineMerge } from "../merging/define-merge.js";
import type { MergeTensor } from "../merging/merge-method.js";

const shared = {
  normalize: z.boolean().default(true).describe("divide the Fisher weights of each model by their L2 norm over all tensors"),
  floor: z.number().positive().default(1e-6).describe("added to every Fisher weight, so that none is zero"),
};
const perModel = { weight: z.number().positive().default(1).describe("weight w of the model") };
type Tensor = MergeTensor<z.output<z.ZodObject<typeof shared>>, z.output<z.ZodObject<typeof perModel>>>;

export const fisher = defineMerge({
  id: "fisher",
  summary: "Averages models with each parameter weighted by how much its own data depends on it.",
  paper: { title: "Merging Models with Fisher-Weighted Averaging", arxiv: "2111.09832", year: 2021, survey: "5.1 weight interpolation" },
  mergekit: [],
  base: "none",
  models: [1, Number.POSITIVE_INFINITY],
  statistics: "fisher",
  shared,
  perModel,
  survey: { rounds: ({ normalize }) => (normalize ? 1 : 0), count: countSquares },
  merge: (tensor) => {
    const { floor, normalize } = tensor.parameters;
    const weights = tensor.models.map((m) => m.parameters.weight);
    const known = tensor.models.flatMap((m) => m.statistics?.values ?? []);
    // A tensor that not every model knows something about is averaged.
    const sources = known.length === weights.length ? known : [];
    const by = sources.length > 0 && normalize ? normalizedWeights(tensor.totals[0]!, weights, floor) : weights;
    withScratch(sources.length, tensor.elements, (scratch) => {
      tensor.write(({ start, length, models }, out) => {
        const values = sources.map((source, i) => {
          const into = scratch(i, length);
          source.read(start, into);
          return into;
        });
        for (let j = 0; j < length; j++) {
          let [sum, total] = [0, 0];
          for (let i = 0; i < models.length; i++) {
            const f = sources.length > 0 ? by[i]! * (values[i]![j]! + floor) : by[i]!;
            sum += f * models[i]![j]!;
            total += f;
          }
          out[j] = sum / total;
        }
      });
    });
  },
});

/** The tensor's part of ‖Fᵢ‖₂² of each model: f64[models × DIGITS]. @throws {LfmError} NUMERIC_DIVERGED for weights that are not finite */
function countSquares(tensor: Tensor): Float64Array {
  const counted = new Float64Array(tensor.models.length * DIGITS);
  for (const [i, { name, statistics }] of tensor.models.entries()) {
    if (!statistics) continue;
    let squares = 0;
    eachChunk(statistics.values, tensor.elements, (values) => {
      for (const v of values) squares += v * v;
    });
    if (!Number.isFinite(squares))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/reuse] the Fisher weights of "${tensor.name}" of "${name}" are not finite`, {
        hint: "the model's loss diverges on its examples: take the statistics with others",
      });
    addDigits(counted.subarray(i * DIGITS, (i + 1) * DIGITS), squares);
  }
  return counted;
}

/** wᵢ/(‖Fᵢ‖₂ + floor), scaled to the mean of the weights; norms over the tensors that are merged. */
function normalizedWeights(totals: Float64Array, weights: readonly number[], floor: number): number[] {
  const inverse = weights.map((_, i) => 1 / (Math.sqrt(fromDigits(totals.subarray(i * DIGITS, (i + 1) * DIGITS))) + floor));
  const total = inverse.reduce((a, b) => a + b, 0);
  return inverse.map((v, i) => (weights[i]! * v) / total);
}
