/** θ₀ + λ·Σ wᵢ(θᵢ − θ₀) (arXiv 2212.04089). λ = 0 gives the base, λ = 1 with one model gives that model. */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { writeCombination } from "../merging/span.js";

export const taskArithmetic = defineMerge({
  id: "task-arithmetic",
  summary: "Adds the task vectors of several fine-tuned models to their base.",
  paper: { title: "Editing Models with Task Arithmetic", arxiv: "2212.04089", year: 2022, survey: "5.1 weight interpolation" },
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared: {
    lambda: z.number().default(1).describe("scale λ of the summed task vectors; mergekit 1, fusion_bench 0.3"),
    normalize: z.boolean().default(false).describe("divide by the sum of weights"),
  },
  perModel: { weight: z.number().default(1).describe("weight w of the task vector") },
  merge: (tensor) => {
    const { lambda, normalize } = tensor.parameters;
    const weights = tensor.models.map((m) => m.parameters.weight);
    writeCombination(tensor, scaled(weights, lambda, normalize));
  },
});

/** λ·wᵢ, divided by Σ w where that is asked for and is not zero. */
function scaled(weights: readonly number[], lambda: number, normalize: boolean): number[] {
  const total = weights.reduce((a, b) => a + b, 0);
  const divisor = normalize && Math.abs(total) >= 1e-8 ? total : 1;
  return weights.map((w) => (lambda * w) / divisor);
}
