import { isLfmError } from "@lfm/core";
import { Draws } from "@lfm/core/testing";
import { describe, expect, it } from "vitest";
import { readGolden } from "../../test/alignment-golden.js";
import { zipMap, zipMatching } from "./zip-matching.js";

/** Pearson correlations of rows. */
function correlated(x: Float64Array, rows: number, columns: number): Float64Array {
  const centred = x.slice();
  for (let i = 0; i < rows; i++) {
    const row = centred.subarray(i * columns, (i + 1) * columns);
    const mean = row.reduce((a, b) => a + b, 0) / columns;
    for (let k = 0; k < columns; k++) row[k]! -= mean;
    const norm = Math.hypot(...row);
    for (let k = 0; k < columns; k++) row[k]! /= norm;
  }
  return Float64Array.from({ length: rows * rows }, (_, k) => {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += centred[Math.floor(k / rows) * columns + c]! * centred[(k % rows) * columns + c]!;
    return sum;
  });
}

describe("ZipIt's matching", () => {
  it("hand-worked: the closest pair first, then the next that α leaves on top", () => {
    // Models {0, 1} and {2, 3}. 0–2 (.9) are joined; with α = .5 they are like 1 by min(.1, .8)·.5 = .05 and like 3 by min(.7, .2)·.5 = .1; 1–3 has .3.
    const s = Float64Array.of(1, 0.1, 0.9, 0.7, 0.1, 1, 0.8, 0.3, 0.9, 0.8, 1, 0.2, 0.7, 0.3, 0.2, 1);
    expect(zipMatching(s, [2, 2], { target: 2, alpha: 0.5, beta: 1 })).toEqual(Int32Array.of(0, 1, 0, 1));
    // Three become one group before 1 and 3 meet, where nothing holds it back and 3 is like both by .75.
    const t = Float64Array.of(1, 0.1, 0.9, 0.75, 0.1, 1, 0.8, 0.3, 0.9, 0.8, 1, 0.75, 0.75, 0.3, 0.75, 1);
    expect(zipMatching(t, [2, 2], { target: 2, alpha: 1, beta: 1 })).toEqual(Int32Array.of(0, 1, 0, 0));
  });

  it("is the authors' matching", () => {
    type Case = { seed: number; models: number; each: number; alpha: number; beta: number; groups: number[] };
    for (const c of readGolden<Case[]>("zip")) {
      const n = c.models * c.each;
      const similarity = correlated(new Draws(c.seed).array(n * 64), n, 64);
      const got = zipMatching(similarity, new Array<number>(c.models).fill(c.each), { target: c.each, alpha: c.alpha, beta: c.beta });
      expect(Array.from(got)).toEqual(c.groups);
    }
  });

  it("β = 0 pairs each unit with one of the other model", () => {
    const n = 10;
    const similarity = correlated(new Draws(5).array(2 * n * 30), 2 * n, 30);
    const groups = zipMatching(similarity, [n, n], { target: n, alpha: 1, beta: 0 });
    expect(new Set(groups.subarray(0, n)).size).toBe(n);
    expect(new Set(groups.subarray(n)).size).toBe(n);
  });

  it("what cannot be reached is said", () => {
    const similarity = correlated(new Draws(5).array(9 * 30), 9, 30);
    let error: unknown;
    try {
      zipMatching(similarity, [6, 3], { target: 3, alpha: 1, beta: 0 });
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
  });

  it("merging averages a group, unmerging copies it to each member", () => {
    const groups = Int32Array.of(0, 0, 1, 0, 1, 1);
    const [a, b] = [0, 1].map((k) => zipMap(groups, [3, 3], k, 2));
    expect(Array.from(a!.makes)).toEqual([2 / 3, 2 / 3, 0, 0, 0, 2 / 3]);
    expect(Array.from(b!.makes)).toEqual([2 / 3, 0, 0, 0, 2 / 3, 2 / 3]);
    expect(Array.from(b!.reads)).toEqual([1, 0, 0, 0, 1, 1]);
    // With the weight ½ of each model, rows over both models sum to 1.
    for (const i of [0, 1])
      expect(
        (a!.makes.subarray(3 * i, 3 * i + 3).reduce((x, y) => x + y) + b!.makes.subarray(3 * i, 3 * i + 3).reduce((x, y) => x + y)) / 2,
      ).toBeCloseTo(1, 15);
  });
});
