import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit } from "../../test/mergekit-golden.js";
import { nearswap } from "./nearswap.js";

describe("nearswap", () => {
  it("hand-worked: near entries are swapped, far ones move by t", async () => {
    const out = await mergeValues(nearswap, { base: [1, 1, 1, 1], models: [[1.25, 3, 0, 1]], config: { t: 0.5 } });
    expect(Array.from(out)).toEqual([1.25, 1.5, 0.5, 1]);
  });

  it("t = 0 gives the base, a large t the other model", async () => {
    const base = gaussian(1, 100);
    const other = tuned(base, 2);
    expect(await mergeValues(nearswap, { base, models: [other], config: { t: 0 } })).toEqual(base);
    expect(await mergeValues(nearswap, { base, models: [other], config: { t: 1e6 } })).toEqual(other);
  });

  it("equals mergekit", async () => {
    await expectMergekit(nearswap, "nearswap");
  });
});
