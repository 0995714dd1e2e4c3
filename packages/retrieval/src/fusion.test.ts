import type { Run } from "@lfm/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { convexFusion, reciprocalRankFusion, weightedFusion } from "./fusion.js";

const run = (hits: Record<string, number>): Run =>
  new Map([
    [
      "q",
      Object.entries(hits)
        .map(([id, score]) => ({ id, score }))
        .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1)),
    ],
  ]);
const hits = fc.dictionary(fc.constantFrom("a", "b", "c", "d", "e"), fc.integer({ min: -5, max: 5 }));

describe("reciprocalRankFusion", () => {
  it("by hand", () => {
    // a: 1/61 + 1/62, b: 1/62 + 1/61, c: 1/63. Ties by id.
    expect(reciprocalRankFusion([run({ a: 3, b: 2, c: 1 }), run({ b: 9, a: 8 })]).get("q")).toEqual([
      { id: "a", score: 1 / 61 + 1 / 62 },
      { id: "b", score: 1 / 62 + 1 / 61 },
      { id: "c", score: 1 / 63 },
    ]);
  });

  it("does not depend on the order of the runs", () => {
    fc.assert(
      fc.property(hits, hits, (a, b) => {
        expect(reciprocalRankFusion([run(a), run(b)])).toEqual(reciprocalRankFusion([run(b), run(a)]));
      }),
      { seed: 1 },
    );
  });
});

describe("convexFusion", () => {
  it("by hand: scores scaled to 0..1", () => {
    expect(convexFusion(run({ a: 10, b: 5, c: 0 }), run({ b: 2, c: 1 }), 0.25).get("q")).toEqual([
      { id: "b", score: 0.25 * 0.5 + 0.75 },
      { id: "a", score: 0.25 },
      { id: "c", score: 0 },
    ]);
  });

  it("swapped runs with swapped weights are the same; weight 1 keeps the order of the first", () => {
    fc.assert(
      fc.property(hits, hits, fc.constantFrom(0, 0.25, 0.5, 1), (a, b, alpha) => {
        expect(convexFusion(run(a), run(b), alpha)).toEqual(convexFusion(run(b), run(a), 1 - alpha));
        const alone = (convexFusion(run(a), run({}), 1).get("q") ?? []).map((hit) => hit.id);
        expect(alone).toEqual(
          run(a)
            .get("q")!
            .map((hit) => hit.id),
        );
      }),
      { seed: 1 },
    );
  });

  it("refuses weights out of range", () => {
    expect(() => convexFusion(run({}), run({}), 1.5)).toThrow(/alpha in 0..1/);
  });
});

describe("weightedFusion", () => {
  const [a, b] = [run({ x: 4, y: 2, z: 0 }), run({ y: 10, x: 10 })];

  it("by hand, with each scaling", () => {
    expect(weightedFusion([a, b], [2, 1], "none").get("q")).toEqual([
      { id: "x", score: 18 },
      { id: "y", score: 14 },
      { id: "z", score: 0 },
    ]);
    expect(weightedFusion([a, b], [2, 1]).get("q")).toEqual([
      { id: "x", score: 3 },
      { id: "y", score: 2 },
      { id: "z", score: 0 },
    ]);
    // Mean 2, deviation √(8/3); the scores of b are all equal.
    const x = 2 / Math.sqrt(8 / 3);
    expect(weightedFusion([a, b], [1, 1], "standard").get("q")).toEqual([
      { id: "x", score: expect.closeTo(x, 12) },
      { id: "y", score: 0 },
      { id: "z", score: expect.closeTo(-x, 12) },
    ]);
  });

  it("a weight of 0 leaves a run's order out; ranks take weights too", () => {
    expect(
      weightedFusion([a, b], [1, 0])
        .get("q")!
        .map((hit) => hit.id),
    ).toEqual(["x", "y", "z"]);
    expect(reciprocalRankFusion([a, b], 60, [0, 1]).get("q")!.slice(0, 2)).toEqual([
      { id: "x", score: 1 / 61 },
      { id: "y", score: 1 / 62 },
    ]);
  });

  it("refuses weights that do not fit", () => {
    expect(() => weightedFusion([a, b], [1])).toThrow(/as many weights/);
    expect(() => reciprocalRankFusion([a], 60, [-1])).toThrow(/as many weights/);
  });
});
