import { Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { kthLargest, trimTo } from "./magnitude.js";

describe("kthLargest", () => {
  it("equals sorting", () => {
    for (const seed of [1, 2, 3]) {
      const values = new Rng(seed).normalArray(501, 10 ** (seed * 6 - 12));
      const sorted = values.map(Math.abs).sort();
      for (const k of [1, 2, 100, 500, 501]) expect(kthLargest(values, k)).toBe(sorted[501 - k]);
    }
  });

  it("knows zeros, denormals and infinities", () => {
    const values = Float32Array.of(0, -0, 1e-45, -Infinity, 3);
    expect([1, 2, 3, 4, 5].map((k) => kthLargest(values, k))).toEqual([Infinity, 3, values[2], 0, 0]);
  });
});

describe("trimTo", () => {
  it("keeps exactly ⌊density·n⌋ entries, at least one", () => {
    const values = Float32Array.from({ length: 40 }, (_, i) => (i % 3) - 1.5);
    for (const density of [0.01, 0.2, 0.5, 0.75, 1]) {
      const kept = trimTo(values, density);
      expect(kept.filter((v) => v !== 0).length).toBe(Math.max(1, Math.floor(density * 40)));
      for (const [i, v] of kept.entries()) if (v !== 0) expect(v).toBe(values[i]);
    }
  });
});
