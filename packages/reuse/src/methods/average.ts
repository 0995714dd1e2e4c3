/** Σ wᵢθᵢ / Σ wᵢ (model soups, arXiv 2203.05482); mergekit's `linear`. Sums in f64. */
import { defineMethod } from "@lfm/core";
import { z } from "zod";
import { type MergeInputs, type MergeOutput, mergeTensors, modelWeights } from "../inputs.js";

export const average = defineMethod({
  id: "average",
  paradigm: "reuse",
  summary: "Averages the weights of models that share an architecture.",
  paper: {
    title: "Model soups: averaging weights of multiple fine-tuned models",
    arxiv: "2203.05482",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights"],
  config: z.strictObject({
    weights: z.array(z.number()).optional().describe("weight w of each model, in their order; default 1 each"),
    normalize: z.boolean().default(true).describe("divide by the sum of weights"),
  }),
  run: async (inputs: MergeInputs, c, context): Promise<MergeOutput> => {
    const w = modelWeights(c.weights, Object.keys(inputs.models).length);
    const total = c.normalize ? w.reduce((a, b) => a + b, 0) : 1;
    return mergeTensors(inputs, context, false, (models) => {
      const out = new Float32Array(models[0]!.length);
      for (let j = 0; j < out.length; j++) {
        let sum = 0;
        for (let i = 0; i < models.length; i++) sum += w[i]! * models[i]![j]!;
        out[j] = sum / total;
      }
      return out;
    });
  },
});
