/**
 * TIES (arXiv 2306.01708): trim each task vector to its largest magnitudes, elect a sign per entry by the weighted sum
 * (a tie counts as +), average the entries that agree, scale by λ.
 * As mergekit: trimming per tensor, the divisor is the sum of the weights that agree. The paper trims over the whole model (`scope: model`).
 */
import { defineMethod, loadWeight, widenToF32 } from "@lfm/core";
import { z } from "zod";
import { type MergeInputs, type MergeOutput, mergeTensors, modelWeights } from "../inputs.js";

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
  run: async (inputs: MergeInputs, c): Promise<MergeOutput> => {
    const w = modelWeights(c.weights, Object.keys(inputs.models).length);
    const global =
      c.scope === "model" && inputs.base ? Object.values(inputs.models).map((m) => threshold(taskVector(inputs, m), c.density)) : undefined;
    return mergeTensors(inputs, true, (models, base) => {
      const deltas = models.map((m, i) => {
        const d = m.map((v, j) => v - base![j]!);
        return trim(d, global ? global[i]! : threshold(d, c.density));
      });
      const out = new Float32Array(base!.length);
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
        out[j] = base![j]! + c.lambda * (agreed === 0 ? 0 : c.normalize ? sum / agreed : sum);
      }
      return out;
    });
  },
});

function taskVector(inputs: MergeInputs, model: MergeInputs["models"][string]): Float32Array {
  const parts = Object.keys(model).map((name) => {
    const [a, b] = [widenToF32(loadWeight(model[name]!)), widenToF32(loadWeight(inputs.base![name]!))];
    return (a.data as Float32Array).map((v, j) => v - (b.data[j] as number));
  });
  const out = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

/** The ⌊density·n⌋-th largest magnitude: entries at or above it stay. */
function threshold(d: Float32Array, density: number): number {
  if (density >= 1) return 0;
  const keep = Math.max(1, Math.floor(density * d.length));
  return d.map(Math.abs).sort()[d.length - keep]!;
}

function trim(d: Float32Array, limit: number): Float32Array {
  return d.map((v) => (Math.abs(v) >= limit ? v : 0));
}
