import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linalgGolden } from "../../test/linalg-golden.js";
import { Draws } from "../testing/draws.js";
import { solveAssignment } from "./assignment.js";
import { optimalTransport } from "./transport.js";

const sums = (plan: Float64Array, n: number, m: number): { rows: number[]; columns: number[] } => ({
  rows: Array.from({ length: n }, (_, i) => plan.subarray(i * m, i * m + m).reduce((a, b) => a + b, 0)),
  columns: Array.from({ length: m }, (_, j) => Array.from({ length: n }, (_, i) => plan[i * m + j]!).reduce((a, b) => a + b, 0)),
});

describe("optimal transport of uniform masses", () => {
  it("hand-worked: three sources of ⅓, two sinks of ½", () => {
    // Sources at 0, 1, 2 and sinks at 0, 2 of a line, cost = distance: the middle one splits, 2 · (1/6) · 1 = 1/3.
    const { plan, value } = optimalTransport(Float64Array.of(0, 2, 1, 1, 2, 0), 3, 2);
    expect(value).toBeCloseTo(1 / 3, 15);
    [1 / 3, 0, 1 / 6, 1 / 6, 0, 1 / 3].forEach((v, k) => {
      expect(plan[k]).toBeCloseTo(v, 15);
    });
  });

  it("is the linear program's optimum (SciPy's HiGHS)", () => {
    for (const c of linalgGolden<{ seed: number; sources: number; sinks: number; value: number }[]>("transport")) {
      const cost = new Draws(c.seed).array(c.sources * c.sinks).map((v) => v + 1);
      expect(optimalTransport(cost, c.sources, c.sinks).value).toBeCloseTo(c.value, 12);
    }
  });

  it("keeps both marginals, and equal counts are an assignment", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 14 }), fc.integer({ min: 1, max: 14 }), fc.nat(), (n, m, seed) => {
        const cost = new Draws(seed).array(n * m);
        const { plan, value } = optimalTransport(cost, n, m);
        const { rows, columns } = sums(plan, n, m);
        for (const r of rows) expect(r).toBeCloseTo(1 / n, 13);
        for (const c of columns) expect(c).toBeCloseTo(1 / m, 13);
        expect(Math.min(...plan)).toBeGreaterThanOrEqual(0);
        if (n === m) expect(value).toBeCloseTo(solveAssignment(cost, n, n).value / n, 13);
        // A vertex of the polytope: no more than n + m − 1 entries.
        expect(plan.filter((p) => p > 0).length).toBeLessThanOrEqual(n + m - 1);
        const turned = Float64Array.from({ length: n * m }, (_, k) => cost[(k % n) * m + Math.floor(k / n)]!);
        expect(optimalTransport(turned, m, n).value).toBeCloseTo(value, 12);
      }),
      { numRuns: 150, seed: 1 },
    );
  });
});
