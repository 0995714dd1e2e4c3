import { f32 } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maximalMarginalRelevance } from "./mmr.js";

const hits = [
  { id: "a", score: 0.9 },
  { id: "twin", score: 0.8 },
  { id: "other", score: 0.5 },
];
// a and its twin point the same way, the other stands at a right angle.
const vectors = f32([1, 0, 2, 0, 0, 3], [3, 2]);

describe("maximalMarginalRelevance", () => {
  it("by hand: what repeats a hit comes later", () => {
    expect(maximalMarginalRelevance(hits, vectors)).toEqual([
      { id: "a", score: 0.45 },
      { id: "other", score: 0.25 },
      { id: "twin", score: 0.4 - 0.5 },
    ]);
    expect(maximalMarginalRelevance(hits, vectors, { k: 2, lambda: 0.9 }).map((hit) => hit.id)).toEqual(["a", "twin"]);
  });

  it("λ = 1 keeps the order and the scores, and nothing is lost", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -9, max: 9 })), { maxLength: 12 }), (points) => {
        const some = points.map((_, i) => ({ id: `d${i}`, score: 1 - i / 20 }));
        const at = f32(points.flat(), [points.length, 2]);
        expect(maximalMarginalRelevance(some, at, { lambda: 1 })).toEqual(some);
        expect(new Set(maximalMarginalRelevance(some, at, { lambda: 0.3 }).map((hit) => hit.id)).size).toBe(some.length);
      }),
      { seed: 2 },
    );
  });

  it("refuses what does not fit", () => {
    expect(() => maximalMarginalRelevance(hits, f32([1, 0], [1, 2]))).toThrow(/3 hits need as many vectors/);
    expect(() => maximalMarginalRelevance(hits, vectors, { lambda: 2 })).toThrow(/0\.\.1/);
  });
});
