/**
 * RegMean (arXiv 2212.09849): W = (Σ Ĝᵢ)⁻¹ Σ ĜᵢWᵢ for every linear layer, Ĝᵢ the Gram matrix of model i's inputs of that layer with its
 * off-diagonal entries scaled by α; everything else is averaged. The answer is the layer with the least squared distance to the outputs of
 * all models, each on its own data.
 */
import { defineMethod } from "@lfm/core";
import { z } from "zod";
import { mergeByRegression, type RegressionOptions } from "../data-driven/regression-solve.js";
import type { Statistics } from "../data-driven/statistics.js";
import { mergeWithStatistics, type StatisticsMergeInputs, statisticsOf, type TensorStatistics } from "../data-driven/statistics-merge.js";
import type { MergeOutput } from "../inputs.js";
import type { MergeTensor } from "../merging/define-merge.js";

export const regressionFields = {
  offDiagonal: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe("factor α of the off-diagonal entries of Gram matrices; 0.6 for GPT-2 in fusion_bench"),
  ridge: z
    .number()
    .min(0)
    .default(1e-6)
    .describe(
      "pull towards the plain average, in units of the mean diagonal of the summed Gram matrices; decides inputs that are always 0",
    ),
};

export const regmean = defineMethod({
  id: "regmean",
  paradigm: "reuse",
  summary: "Merges each linear layer by regression on the inputs that its models see.",
  paper: {
    title: "Dataless Knowledge Fusion by Merging Weights of Language Models",
    arxiv: "2212.09849",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights"],
  config: z.strictObject(regressionFields),
  run: async (inputs: StatisticsMergeInputs, c, context): Promise<MergeOutput> => {
    const statistics = statisticsOf(inputs, "gram");
    return mergeWithStatistics(
      inputs,
      statistics,
      context,
      (name, shape) => (layoutOf(statistics, name) === "in-out" ? [shape[0]!, shape[0]!] : [shape.at(-1)!, shape.at(-1)!]),
      (tensor, known) => mergeRegmean(tensor, known, layoutOf(statistics, tensor.name), c),
    );
  },
});

function layoutOf(statistics: readonly Statistics[], name: string): "out-in" | "in-out" {
  return statistics[0]?.layouts[name] ?? "out-in";
}

/** Merges one tensor: by regression where every model has a Gram matrix for it, else by averaging. */
export function mergeRegmean(tensor: MergeTensor, known: TensorStatistics, layout: "out-in" | "in-out", c: RegressionOptions): void {
  if (tensor.shape.length === 2 && known.every((s) => s !== undefined)) mergeByRegression(tensor, known, layout, c);
  else
    tensor.write(({ length, models }, out) => {
      for (let j = 0; j < length; j++) {
        let sum = 0;
        for (const m of models) sum += m[j]!;
        out[j] = sum / models.length;
      }
    });
}
