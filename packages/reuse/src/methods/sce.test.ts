import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { sce } from "./sce.js";

describe("sce", () => {
  it("hand-worked", async () => {
    // τ: a (3, 1, 0), b (1, −2, 0); mean squares 10/3 and 5/3: weights ⅔ and ⅓. Entry 0 agrees: ⅔·3 + ⅓·1; entry 1: −2 outvotes 1.
    const models = [
      [3, 1, 0],
      [1, -2, 0],
    ];
    const out = await mergeValues(sce, { base: [0, 0, 0], models });
    for (const [i, v] of [7 / 3, -2, 0].entries()) expect(out[i]).toBeCloseTo(v, 6);
    // Variances 1, 2.25, 0: half of the two that vary is entry 1; of it a has 1, b 4 of the energy.
    expect(Array.from(await mergeValues(sce, { base: [0, 0, 0], models, config: { select_topk: 0.5 } }))).toEqual([0, -2, 0]);
  });

  it("weighs models alike where their task vectors are next to nothing", async () => {
    const step = 2 ** -12;
    const out = await mergeValues(sce, {
      base: [0, 0],
      models: [
        [3 * step, 0],
        [step, 0],
      ],
    });
    // Mean squares of 5e-7 in sum: ½·3 + ½·1, not .9·3 + .1·1.
    expect(Array.from(out)).toEqual([2 * step, 0]);
  });

  it("without selection one model gives itself; none selected, or one model with a share, give the base", async () => {
    const base = gaussian(1, 100);
    const models = [tuned(base, 2), tuned(base, 3)];
    expect(relativeError(await mergeValues(sce, { base, models: [models[0]!] }), models[0]!)).toBeLessThan(1e-6);
    expect(await mergeValues(sce, { base, models, config: { select_topk: 0 } })).toEqual(base);
    expect(await mergeValues(sce, { base, models: [models[0]!], config: { select_topk: 0.5 } })).toEqual(base);
  });

  it("changes exactly the share that was asked for, over chunks and where variances are equal", async () => {
    const n = 70_000;
    const base = gaussian(4, n);
    const models = [tuned(base, 5), tuned(base, 6)];
    const changed = (out: Float32Array): number => out.reduce((c, v, i) => c + (v === base[i] ? 0 : 1), 0);
    // An entry whose task vector is lost to rounding counts as unchanged: none here.
    expect(changed(await mergeValues(sce, { base, models, config: { select_topk: 0.25 } }))).toBe(n / 4);
    const flat = await mergeValues(sce, {
      base: [0, 0, 0, 0],
      models: [
        [1, 1, 1, 1],
        [3, 3, 3, 3],
      ],
      config: { select_topk: 0.5 },
    });
    expect(Array.from(flat, Math.sign)).toEqual([1, 1, 0, 0]);
  });

  it("does not mind the order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), fc.constantFrom(0.3, 1), async (seed, select_topk) => {
        const base = gaussian(seed, 60);
        const models = [1, 2, 3].map((i) => tuned(base, seed + i));
        const config = { select_topk };
        const [x, y] = [
          await mergeValues(sce, { base, models, config }),
          await mergeValues(sce, { base, models: models.toReversed(), config }),
        ];
        expect(relativeError(x, y)).toBeLessThan(1e-6);
      }),
      { numRuns: 20 },
    );
  });

  it("equals mergekit", async () => {
    await expectMergekit(sce, "sce");
  });
});
