import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { modelStock } from "./model-stock.js";

describe("model stock", () => {
  it("hand-worked: c = ½ of two models gives t = ⅔", async () => {
    // τ = (2, 0) and (1, √3): cos 60°; base + ⅔·(1.5, √3/2)
    const out = await mergeValues(modelStock, {
      base: [1, 1],
      models: [
        [3, 1],
        [2, 1 + Math.sqrt(3)],
      ],
    });
    expect(out[0]).toBeCloseTo(2, 6);
    expect(out[1]).toBeCloseTo(1 + Math.sqrt(3) / 3, 6);
  });

  it("takes the models where they agree, the base where they are at right angles or opposed", async () => {
    const base = gaussian(1, 50);
    const one = tuned(base, 2);
    expect(relativeError(await mergeValues(modelStock, { base, models: [one, one, one] }), one)).toBeLessThan(1e-6);
    expect(
      Array.from(
        await mergeValues(modelStock, {
          base: [0, 0],
          models: [
            [1, 0],
            [0, 1],
          ],
        }),
      ),
    ).toEqual([0, 0]);
    expect(
      Array.from(
        await mergeValues(modelStock, {
          base: [5, 5],
          models: [
            [6, 5],
            [4, 5],
          ],
        }),
      ),
    ).toEqual([5, 5]);
  });

  it("filter_wise has an own ratio for each row", async () => {
    // First row: equal task vectors; second: at right angles.
    const out = await mergeValues(modelStock, {
      base: [0, 0, 0, 0],
      models: [
        [1, 2, 1, 0],
        [1, 2, 0, 1],
      ],
      shape: [2, 2],
      config: { filter_wise: true },
    });
    expect(Array.from(out)).toEqual([1, 2, 0, 0]);
  });

  it("does not mind the order of models", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        const base = gaussian(seed, 30);
        const models = [1, 2, 3].map((i) => tuned(base, seed + i));
        const [x, y] = [await mergeValues(modelStock, { base, models }), await mergeValues(modelStock, { base, models: models.reverse() })];
        expect(relativeError(x, y)).toBeLessThan(1e-6);
      }),
      { numRuns: 20 },
    );
  });

  it("equals mergekit", async () => {
    await expectMergekit(modelStock, "model_stock");
  });
});
