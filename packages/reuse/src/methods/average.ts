/** Σ wᵢθᵢ / Σ wᵢ: a uniform or weighted average, a "model soup" (arXiv 2203.05482); mergekit's `linear`. */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { writeCombination } from "../merging/span.js";

export const average = defineMerge({
  id: "average",
  summary: "Averages the weights of several models.",
  paper: {
    title: "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time",
    arxiv: "2203.05482",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  mergekit: ["linear"],
  base: "none",
  models: [1, Number.POSITIVE_INFINITY],
  shared: { normalize: z.boolean().default(true).describe("divide by the sum of weights") },
  perModel: { weight: z.number().default(1).describe("weight w of the model") },
  presets: { linear: { summary: "the name in mergekit", config: {} } },
  merge: (tensor) => {
    const weights = tensor.models.map((m) => m.parameters.weight);
    const total = tensor.parameters.normalize ? weights.reduce((a, b) => a + b, 0) : 1;
    if (total === 0)
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] "${tensor.name}": the weights add up to 0`, { hint: "normalize: false" });
    writeCombination(
      tensor,
      weights.map((w) => w / total),
    );
  },
});
