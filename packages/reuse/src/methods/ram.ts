/**
 * RAM, reinforced agent merging (arXiv 2601.13572): an entry that one model alone changed (|τ| > ε) takes the change whole, one that several
 * changed the mean of their changes, so that what is special to one model is not diluted. `ramplus-tl` also strengthens the former,
 * by λᵢ = 1 + r·min(ρᵢ, α), ρᵢ = shared/unique entries of model i in this tensor ("tensor-local": the paper counts over the whole model).
 * One pass; two with r > 0.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { toTaskVectors } from "../merging/task-vectors.js";

export const ram = defineMerge({
  id: "ram",
  summary: "Keeps changes that one model alone made whole and averages those that several made.",
  paper: {
    title: "Behavior Knowledge Merge in Reinforced Agentic Models",
    arxiv: "2601.13572",
    year: 2026,
    survey: "5.1 weight interpolation",
  },
  mergekit: ["ram", "ramplus_tl"],
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared: {
    epsilon: z.number().min(0).default(1e-5).describe("change |τ| up to which an entry counts as unchanged"),
    r: z.number().default(0).describe("gain of unique changes by the ratio ρ of shared to unique entries; 0: none"),
    alpha: z.number().min(0).default(0.2).describe("most that ρ counts"),
  },
  perModel: {},
  presets: {
    "ramplus-tl": { summary: "unique changes are strengthened", config: { r: 0.1, alpha: 0.2 } },
  },
  merge: (tensor) => {
    const { epsilon, r, alpha } = tensor.parameters;
    const limit = Math.fround(epsilon);
    const gain = r === 0 ? tensor.models.map(() => 1) : overlaps(tensor, limit).map((rho) => 1 + r * Math.min(alpha, rho));
    let [shared, unique, count] = [new Float64Array(0), new Float64Array(0), new Uint16Array(0)];
    tensor.write((chunk, out) => {
      toTaskVectors(chunk);
      const { models, base, length } = chunk;
      if (count.length !== length) [shared, unique, count] = [new Float64Array(length), new Float64Array(length), new Uint16Array(length)];
      for (const array of [shared, unique, count]) array.fill(0);
      for (let i = 0; i < models.length; i++) {
        const t = models[i]!;
        const g = gain[i]!;
        for (let j = 0; j < length; j++) {
          const v = t[j]!;
          const changed = Number(Math.abs(v) > limit);
          shared[j] = shared[j]! + changed * v;
          unique[j] = unique[j]! + changed * g * v;
          count[j] = count[j]! + changed;
        }
      }
      for (let j = 0; j < length; j++) out[j] = base[j]! + (count[j]! > 1 ? shared[j]! / count[j]! : unique[j]!);
    });
  },
});

/** ρ of each model: its entries that others changed too, over those that it alone changed (at least `limit`). */
function overlaps(tensor: MergeTensor<unknown, unknown>, limit: number): number[] {
  const [shared, unique] = [tensor.models.map(() => 0), tensor.models.map(() => 0)];
  let count = new Uint16Array(0);
  tensor.read((chunk) => {
    toTaskVectors(chunk);
    const { models, length } = chunk;
    if (count.length !== length) count = new Uint16Array(length);
    count.fill(0);
    for (const t of models) for (let j = 0; j < length; j++) if (Math.abs(t[j]!) > limit) count[j]!++;
    for (let i = 0; i < models.length; i++) {
      const t = models[i]!;
      let [own, common] = [0, 0];
      for (let j = 0; j < length; j++) {
        if (Math.abs(t[j]!) <= limit) continue;
        if (count[j] === 1) own++;
        else common++;
      }
      unique[i] = unique[i]! + own;
      shared[i] = shared[i]! + common;
    }
  });
  return shared.map((s, i) => (s === 0 ? 0 : s / Math.max(limit, unique[i]!)));
}
