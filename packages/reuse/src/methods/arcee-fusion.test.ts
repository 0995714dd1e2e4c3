import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit } from "../../test/mergekit-golden.js";
import { arceeFusion } from "./arcee-fusion.js";

/** The definition, on whole rows, with a sort. */
function byDefinition(base: Float32Array, other: Float32Array, width: number): boolean[] {
  const softmax = (row: Float32Array): number[] => {
    const e = Array.from(row, (v) => Math.exp(v));
    const total = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / total + 1e-8);
  };
  const scores = new Float32Array(base.length);
  for (let at = 0; at < base.length; at += width) {
    const [p, q] = [softmax(other.subarray(at, at + width)), softmax(base.subarray(at, at + width))];
    const divergence = p.reduce((s, v, j) => s + v * Math.log(v / q[j]!), 0);
    for (let j = at; j < at + width; j++) scores[j] = Math.abs(Math.fround(other[j]! - base[j]!)) * divergence;
  }
  const sorted = scores.toSorted();
  const quantile = (q: number): number => sorted[Math.floor(q * (sorted.length - 1))]!;
  const limit = Math.fround(quantile(0.5) + Math.fround(1.5 * Math.fround(quantile(0.75) - quantile(0.25))));
  return Array.from(scores, (s) => s >= limit);
}

describe("arcee fusion", () => {
  it("hand-worked: takes the one change that stands out", async () => {
    const base = new Float32Array(8);
    const other = Float32Array.of(0.01, -0.01, 0.02, 1, -0.01, 0.01, 0, 0.02);
    expect(Array.from(await mergeValues(arceeFusion, { base, models: [other] }))).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
  });

  it("of the base itself gives the base", async () => {
    const base = gaussian(1, 60);
    expect(await mergeValues(arceeFusion, { base, models: [base], shape: [6, 10] })).toEqual(base);
  });

  it("takes what the definition takes, over many chunks", async () => {
    const [rows, width] = [900, 101];
    const base = gaussian(2, rows * width);
    const other = tuned(base, 3);
    const out = await mergeValues(arceeFusion, { base, models: [other], shape: [rows, width] });
    const taken = byDefinition(base, other, width);
    expect(taken.filter((t) => t).length).toBeGreaterThan(1000);
    const wrong = taken.reduce((c, t, i) => c + (out[i] === (t ? other : base)[i] ? 0 : 1), 0);
    expect(wrong).toBe(0);
  });

  it("equals mergekit", async () => {
    await expectMergekit(arceeFusion, "arcee_fusion");
  });
});
