import { Rng } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { channelSizes, type HeadGroup } from "./permutation-spec.js";
import { matchedValue, type Similarity, solveGroup, spellHeads } from "./solve-group.js";

const heads = (kvHeads: number, queryHeads: number, headDim: number, movesQk: boolean): HeadGroup => ({
  kind: "heads",
  id: "attention",
  kvHeads,
  queryHeads,
  headDim,
  movesQk,
  uses: [],
  taps: [],
});

const random = (group: HeadGroup, seed: number): Similarity => {
  const rng = new Rng(seed);
  return Object.fromEntries(Object.entries(channelSizes(group)).map(([c, n]) => [c, Float64Array.from(rng.normalArray(n * n))]));
};

function permutations(n: number): Int32Array[] {
  if (n === 0) return [new Int32Array(0)];
  return permutations(n - 1).flatMap((p) =>
    Array.from({ length: n }, (_, at) => Int32Array.from([...p.slice(0, at), n - 1, ...p.slice(at)])),
  );
}

/** The best over every element of the group. */
function best(group: HeadGroup, similarity: Similarity): number {
  const { kvHeads, queryHeads, headDim, movesQk } = group;
  const inner = permutations(headDim);
  const still = [Int32Array.from({ length: headDim }, (_, i) => i)];
  let top = Number.NEGATIVE_INFINITY;
  const build = (i: number, taken: readonly number[], chosen: Parameters<typeof spellHeads>[1]): void => {
    if (i === kvHeads) {
      top = Math.max(top, matchedValue(group, similarity, spellHeads(group, chosen)));
      return;
    }
    for (let j = 0; j < kvHeads; j++) {
      if (taken.includes(j)) continue;
      for (const queries of permutations(queryHeads))
        for (const qk of movesQk ? inner : still)
          for (const v of inner) build(i + 1, [...taken, j], [...chosen, { with: j, queries, qk, v }]);
    }
  };
  build(0, [], []);
  return top;
}

describe("matching of attention heads", () => {
  it.each([
    ["two heads of three dimensions", heads(2, 1, 3, true)],
    ["two heads of three, q and k in order", heads(2, 1, 3, false)],
    ["three heads of two", heads(3, 1, 2, true)],
  ] as const)("%s: no element of the group is better", (_name, group) => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const similarity = random(group, seed);
        expect(matchedValue(group, similarity, solveGroup(group, similarity))).toBeCloseTo(best(group, similarity), 10);
      }),
      { numRuns: 8, seed: 1 },
    );
  });

  it("query heads that share a key: near the best of all on noise (coordinate ascent), an element of the group every time", () => {
    const group = heads(2, 2, 2, false);
    let share = 0;
    for (let seed = 0; seed < 40; seed++) {
      const similarity = random(group, seed);
      const found = solveGroup(group, similarity);
      for (const [channel, n] of Object.entries(channelSizes(group))) expect(new Set(found[channel]).size).toBe(n);
      // q moves with k by heads, o with v by heads and dimensions.
      for (let p = 0; p < 8; p++) expect(Math.floor(found.q![p]! / 4)).toBe(Math.floor(found.k![Math.floor(p / 4) * 2]! / 2));
      const [value, top] = [matchedValue(group, similarity, found), best(group, similarity)];
      expect(value).toBeLessThanOrEqual(top + 1e-9);
      share += value / top / 40;
    }
    expect(share).toBeGreaterThan(0.97);
  });
});
