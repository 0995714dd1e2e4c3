/**
 * TIES (arXiv 2306.01708): trim each task vector to its largest magnitudes, elect a sign per entry by the weighted sum
 * (a tie counts as +), average the entries that agree, scale by λ.
 * As mergekit: trimming per tensor, the divisor is the sum of the weights that agree. The paper trims over the whole model (`scope: model`).
 */
import { defineMethod, isFloatType, loadWeight, widenToF32 } from "@lfm/core";
import { z } from "zod";
import { type MergeInputs, type MergeOutput, mergeTensors, modelWeights } from "../inputs.js";
import { kthLargest, trimTo } from "../magnitude.js";

const config = z.strictObject({
  density: z.number().gt(0).max(1).default(0.2).describe("share of entries each task vector keeps"),
  lambda: z.number().default(1).describe("scale λ of the merged task vector"),
  weights: z.array(z.number()).optional().describe("weight w of each task vector; default 1 each"),
  normalize: z.boolean().default(true).describe("divide by the weights that agree; off: sum"),
  scope: z.enum(["tensor", "model"]).default("tensor").describe("threshold per tensor (mergekit) or over the whole model (paper)"),
});

export const ties = defineMethod({
  id: "ties",
  paradigm: "reuse",
  summary: "Trims task vectors, elects a sign per entry and averages what agrees.",
  paper: {
    title: "TIES-Merging: Resolving Interference When Merging Models",
    arxiv: "2306.01708",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights"],
  config,
  presets: { paper: { summary: "trim over the whole model, keep 20 %", config: { scope: "model", density: 0.2 } } },
  run: async (inputs: MergeInputs, c, context): Promise<MergeOutput> => {
    const w = modelWeights(c.weights, Object.keys(inputs.models).length);
    const limits =
      c.scope === "model" && inputs.base ? Object.values(inputs.models).map((m) => modelThreshold(inputs.base!, m, c.density)) : undefined;
    return mergeTensors(inputs, context, true, (models, base) => {
      const deltas = models.map((m, i) => {
        const delta = m.map((v, j) => v - base[j]!);
        return limits ? delta.map((v) => (Math.abs(v) >= limits[i]! ? v : 0)) : trimTo(delta, c.density);
      });
      const out = new Float32Array(base.length);
      for (let j = 0; j < out.length; j++) {
        let vote = 0;
        for (let i = 0; i < deltas.length; i++) vote += w[i]! * deltas[i]![j]!;
        const sign = vote >= 0 ? 1 : -1;
        let [sum, agreed] = [0, 0];
        for (let i = 0; i < deltas.length; i++) {
          const d = deltas[i]![j]!;
          if (d * w[i]! * sign <= 0) continue;
          sum += w[i]! * d;
          agreed += w[i]!;
        }
        out[j] = base[j]! + c.lambda * (agreed === 0 ? 0 : c.normalize ? sum / agreed : sum);
      }
      return out;
    });
  },
});

/** The magnitude that the given share of a whole task vector reaches. */
function modelThreshold(base: MergeInputs["models"][string], model: MergeInputs["models"][string], density: number): number {
  const parts = Object.keys(model)
    .filter((name) => isFloatType(model[name]!.dtype) && base[name])
    .map((name) => {
      const [a, b] = [widenToF32(loadWeight(model[name]!)), widenToF32(loadWeight(base[name]!))];
      return (a.data as Float32Array).map((v, j) => v - (b.data[j] as number));
    });
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return kthLargest(all, Math.max(1, Math.floor(density * all.length)));
}
