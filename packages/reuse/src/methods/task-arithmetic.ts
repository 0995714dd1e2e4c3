/** θ₀ + λ·Σ wᵢ(θᵢ − θ₀) (arXiv 2212.04089). λ = 0 gives the base, λ = 1 with one model gives that model. */
import { defineMethod } from "@lfm/core";
import { z } from "zod";
import { type MergeInputs, type MergeOutput, mergeTensors, modelWeights } from "../inputs.js";

export const taskArithmetic = defineMethod({
  id: "task-arithmetic",
  paradigm: "reuse",
  summary: "Adds the task vectors of several fine-tuned models to their base.",
  paper: { title: "Editing Models with Task Arithmetic", arxiv: "2212.04089", year: 2022, survey: "5.1 weight interpolation" },
  needs: ["weights"],
  config: z.strictObject({
    lambda: z.number().default(1).describe("scale λ of the summed task vectors; mergekit 1, fusion_bench 0.3"),
    weights: z.array(z.number()).optional().describe("weight w of each task vector; default 1 each"),
    normalize: z.boolean().default(false).describe("divide by the sum of weights"),
  }),
  run: async (inputs: MergeInputs, c, context): Promise<MergeOutput> => {
    const w = modelWeights(c.weights, Object.keys(inputs.models).length);
    const total = c.normalize ? w.reduce((a, b) => a + b, 0) : 1;
    return mergeTensors(inputs, context, true, (models, base) => {
      const out = new Float32Array(base.length);
      for (let j = 0; j < out.length; j++) {
        let sum = 0;
        for (let i = 0; i < models.length; i++) sum += w[i]! * (models[i]![j]! - base[j]!);
        out[j] = base[j]! + (c.lambda * sum) / total;
      }
      return out;
    });
  },
});
