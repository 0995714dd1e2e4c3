import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, norm } from "../../test/merge-values.js";
import { expectMergekit } from "../../test/mergekit-golden.js";
import { slerp } from "./slerp.js";

describe("slerp", () => {
  it("hand-worked: half-way between two axes lies on the circle", async () => {
    const out = await mergeValues(slerp, { base: [1, 0], models: [[0, 1]], config: { t: 0.5 } });
    for (const v of out) expect(v).toBeCloseTo(Math.SQRT1_2, 6);
  });

  it("t = 0 gives the base, t = 1 the other, between them the length changes little", async () => {
    const [base, other] = [gaussian(1, 300), gaussian(2, 300)];
    for (const [t, end] of [
      [0, base],
      [1, other],
    ] as const) {
      const out = await mergeValues(slerp, { base, models: [other], config: { t } });
      for (const [i, v] of out.entries()) expect(v).toBeCloseTo(end[i]!, 5);
    }
    const half = norm(await mergeValues(slerp, { base, models: [other], config: { t: 0.5 } }));
    expect(half).toBeGreaterThan(0.95 * Math.min(norm(base), norm(other)));
  });

  it("parallel, antiparallel and zero tensors are interpolated linearly", async () => {
    expect(Array.from(await mergeValues(slerp, { base: [1, 2], models: [[3, 6]], config: { t: 0.5 } }))).toEqual([2, 4]);
    expect(Array.from(await mergeValues(slerp, { base: [1, 2], models: [[-1, -2]], config: { t: 0.25 } }))).toEqual([0.5, 1]);
    expect((await mergeValues(slerp, { base: [0, 0], models: [[1, 1]], config: { t: 0.5 } })).every(Number.isFinite)).toBe(true);
  });

  it("equals mergekit", async () => {
    await expectMergekit(slerp, "slerp");
  });
});
