import { isLfmError } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, norm, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { multislerp } from "./multislerp.js";

describe("multi-slerp", () => {
  it("hand-worked: two at right angles of lengths 1 and 3 meet half way, at length 2", async () => {
    const out = await mergeValues(multislerp, {
      models: [
        [1, 0],
        [0, 3],
      ],
    });
    for (const v of out) expect(v).toBeCloseTo(Math.SQRT2, 6);
  });

  it("one model gives itself, equal models give themselves", async () => {
    const [base, one] = [gaussian(1, 40), gaussian(2, 40)];
    expect(await mergeValues(multislerp, { base, models: [one] })).toEqual(one);
    expect(relativeError(await mergeValues(multislerp, { models: [one, one, one] }), one)).toBeLessThan(1e-6);
  });

  it("does not mind the order, and gives vectors of one length their length", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        const models = [1, 2, 3].map((i) => gaussian(seed + i, 30)).map((v) => v.map((x) => (2 * x) / norm(v)));
        const [x, y] = [
          await mergeValues(multislerp, { models, config: { weight: [0.2, 0.3, 0.5] } }),
          await mergeValues(multislerp, { models: models.toReversed(), config: { weight: [0.5, 0.3, 0.2] } }),
        ];
        expect(relativeError(x, y)).toBeLessThan(1e-5);
        expect(norm(x)).toBeCloseTo(2, 5);
      }),
      { numRuns: 20 },
    );
  });

  it("goes straight between two opposite vectors, and refuses more that cancel", async () => {
    expect(
      Array.from(
        await mergeValues(multislerp, {
          models: [
            [1, 0],
            [-3, 0],
          ],
        }),
      ),
    ).toEqual([-1, 0]);
    const models = [
      [1, 0],
      [-1, 0],
      [0, 0],
    ];
    const error = await mergeValues(multislerp, { models }).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("cancel");
    const zero = await mergeValues(multislerp, { models: [[1], [2]], config: { weight: [1, -1] } }).catch((e: unknown) => e);
    expect(isLfmError(zero, "CONFIG_INVALID") && zero.message).toContain("zero");
  });

  it("keeps apart what differs in the seventh digit", async () => {
    const base = gaussian(5, 2000);
    const models = [tuned(base, 6, 1e-6), tuned(base, 7, 1e-6)];
    const mean = base.map((_, i) => (models[0]![i]! + models[1]![i]!) / 2);
    expect(relativeError(await mergeValues(multislerp, { models }), mean)).toBeLessThan(2e-7);
  });

  it("equals mergekit", async () => {
    await expectMergekit(multislerp, "multislerp");
  });
});
