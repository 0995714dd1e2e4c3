/**
 * RegMean (arXiv 2212.09849): W = (Σ Ĝᵢ)⁻¹ Σ ĜᵢWᵢ for every linear layer, Ĝᵢ the Gram matrix of model i's inputs of that layer with its
 * off-diagonal entries scaled by α; everything else is averaged. The answer is the layer with the least squared distance to the outputs of
 * all models, each on its own data.
 */
import { z } from "zod";
import { mergeByRegression, regressionBytes } from "../data-driven/regression-solve.js";
import { defineMerge } from "../merging/define-merge.js";
import { writeCombination } from "../merging/span.js";

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

/** Models of which every one has the Gram matrix of a linear layer; else the tensor is averaged. */
const isRegressed = (shape: readonly number[], models: readonly { readonly statistics?: unknown }[]): boolean =>
  shape.length === 2 && models.every((m) => m.statistics !== undefined);

export const regmean = defineMerge({
  id: "regmean",
  summary: "Merges each linear layer by regression on the inputs that its models see.",
  paper: {
    title: "Dataless Knowledge Fusion by Merging Weights of Language Models",
    arxiv: "2212.09849",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  mergekit: [],
  base: "none",
  models: [1, Number.POSITIVE_INFINITY],
  statistics: "gram",
  held: ({ shape, models }) =>
    isRegressed(shape, models) ? regressionBytes(shape, models.length, models[0]!.statistics!.layout ?? "out-in") : 0,
  shared: regressionFields,
  perModel: {},
  merge: (tensor) => {
    const known = tensor.models.flatMap((m) => m.statistics ?? []);
    if (isRegressed(tensor.shape, tensor.models)) mergeByRegression(tensor, known, tensor.parameters);
    else
      writeCombination(
        tensor,
        tensor.models.map(() => 1 / tensor.models.length),
      );
  },
});
