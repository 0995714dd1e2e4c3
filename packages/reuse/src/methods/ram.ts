/**
 * RAM, reinforced agent merging (arXiv 2601.13572): an entry that one model alone changed (|τ| > ε) takes the change whole, one that several
 * changed the mean of their changes, so that what is special to one model is not diluted. `ramplus-tl` also strengthens the former,
 * by λᵢ = 1 + r·min(ρᵢ, α), ρᵢ = shared/unique entries of model i in this tensor ("tensor-local": the paper counts over the whole model).
 * One pass; two with r > 0.
 */
import { z } from "zod";
import { defineMerge, type MergeTensor } from "../merging/define-merge.js";
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
    tensor.write((chunk, out) => {
      toTaskVectors(chunk);
      const { models, base, length } = chunk;
      for (let j = 0; j < length; j++) {
        let [sum, count, last] = [0, 0, 0];
        for (let i = 0; i < models.length; i++) {
          const t = models[i]![j]!;
          if (Math.abs(t) <= limit) continue;
          sum += t;
          count++;
          last = i;
        }
        out[j] = base[j]! + (count === 1 ? sum * gain[last]! : sum / Math.max(1, count));
      }
    });
  },
});

/** ρ of each model: its entries that others changed too, over those that it alone changed (at least `limit`). */
function overlaps(tensor: MergeTensor<unknown, unknown>, limit: number): number[] {
  const [shared, unique] = [tensor.models.map(() => 0), tensor.models.map(() => 0)];
  tensor.read((chunk) => {
    toTaskVectors(chunk);
    const { models, length } = chunk;
    for (let j = 0; j < length; j++) {
      let count = 0;
      for (const t of models) if (Math.abs(t[j]!) > limit) count++;
      for (let i = 0; i < models.length; i++) {
        if (Math.abs(models[i]![j]!) <= limit) continue;
        if (count === 1) unique[i]!++;
        else shared[i]!++;
      }
    }
  });
  return shared.map((s, i) => (s === 0 ? 0 : s / Math.max(limit, unique[i]!)));
}
