/**
 * Fisher merging (arXiv 2111.09832, equation 3): θ = Σ cᵢ(Fᵢ + floor)θᵢ / Σ cᵢ(Fᵢ + floor), elementwise, Fᵢ the mean squared gradients of
 * model i. As fusion_bench, cᵢ = wᵢ/(‖Fᵢ‖₂ + floor) where Fisher weights are normalised, the norm taken over all tensors. Parameters without
 * statistics are averaged by wᵢ.
 */
import { defineMethod, isFloatType, loadWeight, type Weights, widenToF32 } from "@lfm/core";
import { z } from "zod";
import { withScratch } from "../data-driven/scratch.js";
import type { Statistics } from "../data-driven/statistics.js";
import { mergeWithStatistics, type StatisticsMergeInputs, statisticsOf, type TensorStatistics } from "../data-driven/statistics-merge.js";
import { type MergeOutput, modelWeights } from "../inputs.js";
import type { MergeTensor } from "../merging/define-merge.js";

const config = z.strictObject({
  weights: z.array(z.number().positive()).optional().describe("weight w of each model, in their order; default 1 each"),
  normalize: z.boolean().default(true).describe("divide the Fisher weights of each model by their L2 norm over all tensors"),
  floor: z.number().positive().default(1e-6).describe("added to every Fisher weight, so that none is zero"),
});

export const fisher = defineMethod({
  id: "fisher",
  paradigm: "reuse",
  summary: "Averages models with each parameter weighted by how much its own data depends on it.",
  paper: { title: "Merging Models with Fisher-Weighted Averaging", arxiv: "2111.09832", year: 2021, survey: "5.1 weight interpolation" },
  needs: ["weights"],
  config,
  run: async (inputs: StatisticsMergeInputs, c, context): Promise<MergeOutput> => {
    const statistics = statisticsOf(inputs, "fisher");
    const weights = modelWeights(c.weights, statistics.length);
    const [first] = Object.values(inputs.models);
    const coefficients = c.normalize ? normalizedWeights(statistics, weights, first ?? {}, c.floor) : weights;
    return mergeWithStatistics(
      inputs,
      statistics,
      context,
      (_name, shape) => shape,
      (tensor, known) => mergeFisher(tensor, known, { coefficients, weights, floor: c.floor }),
    );
  },
});

/** wᵢ/(‖Fᵢ‖₂ + floor), scaled to the mean of the weights; norms over the tensors that are merged. */
function normalizedWeights(statistics: readonly Statistics[], weights: readonly number[], merged: Weights, floor: number): number[] {
  const inverse = statistics.map(({ tensors }) => {
    let squares = 0;
    for (const [name, t] of Object.entries(tensors)) {
      if (!merged[name] || !isFloatType(merged[name].dtype)) continue;
      for (const v of widenToF32(loadWeight(t)).data as Float32Array) squares += v * v;
    }
    return 1 / (Math.sqrt(squares) + floor);
  });
  const total = inverse.reduce((a, b) => a + b, 0);
  return inverse.map((v, i) => (weights[i]! * v) / total);
}

/** Merges one tensor, chunk by chunk: statistics have its shape and stream beside it. */
export function mergeFisher(
  tensor: MergeTensor,
  known: TensorStatistics,
  c: { readonly coefficients: readonly number[]; readonly weights: readonly number[]; readonly floor: number },
): void {
  const sources = known.every((s) => s !== undefined) ? known : [];
  const by = sources.length > 0 ? c.coefficients : c.weights;
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
          const f = sources.length > 0 ? by[i]! * (values[i]![j]! + c.floor) : by[i]!;
          sum += f * models[i]![j]!;
          total += f;
        }
        out[j] = sum / total;
      }
    });
  });
}
