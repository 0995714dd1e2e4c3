import type { Rng } from "@lfm/core";
import { channelSizes, type GroupPermutation, type PermutationSpec } from "./permutation-spec.js";
import { spellHeads } from "./solve-group.js";

/** A random element of a model's symmetry group. */
export function randomPermutations(spec: PermutationSpec, rng: Rng): Record<string, GroupPermutation> {
  return Object.fromEntries(
    spec.groups.map((group) => {
      const own = rng.split(group.id);
      const shuffled = (n: number): Int32Array => Int32Array.from(own.shuffle(Array.from({ length: n }, (_, i) => i)));
      if (group.kind === "units") return [group.id, { units: shuffled(channelSizes(group).units!) }];
      const { kvHeads, queryHeads, headDim, movesQk } = group;
      const still = Int32Array.from({ length: headDim }, (_, i) => i);
      const heads = Array.from(shuffled(kvHeads), (from) => ({
        with: from,
        queries: shuffled(queryHeads),
        qk: movesQk ? shuffled(headDim) : still,
        v: shuffled(headDim),
      }));
      return [group.id, spellHeads(group, heads)];
    }),
  );
}
