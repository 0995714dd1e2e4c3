import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { breadcrumbs } from "./breadcrumbs.js";

describe("breadcrumbs", () => {
  const base = [0, 0, 0, 0, 0];
  const a = [5, -4, 3, -2, 1];

  it("hand-worked: neither the largest nor the smallest stay", async () => {
    const run = (config: Record<string, unknown>, preset?: string): Promise<number[]> =>
      mergeValues(breadcrumbs, { base, models: [a], config, ...(preset ? { preset } : {}) }).then((v) => Array.from(v));
    expect(await run({ density: 0.4, gamma: 0.2 })).toEqual([0, -4, 3, 0, 0]);
    expect(await run({ density: 0.4, gamma: 0 })).toEqual([5, -4, 0, 0, 0]);
    // Only one may go: γ yields.
    expect(await run({ density: 0.8, gamma: 0.6 })).toEqual([0, -4, 3, -2, 1]);
    expect(await run({ density: 0 })).toEqual(base);
    // L1 norm 15 from 7
    expect(relativeError(await run({ density: 0.4, gamma: 0.2, rescale: true }), [0, (-4 * 15) / 7, (3 * 15) / 7, 0, 0])).toBeLessThan(
      1e-6,
    );
  });

  it("ties: hand-worked", async () => {
    const models = [a, [-1, -2, -4, 5, 3]];
    const out = await mergeValues(breadcrumbs, { base, models, config: { density: 0.4, gamma: 0.2 }, preset: "breadcrumbs-ties" });
    // a (0, −4, 3, 0, 0), b (0, 0, −4, 0, 3): signs −, −, +
    expect(Array.from(out)).toEqual([0, -4, -4, 0, 3]);
  });

  it("dense models add up, λ = 0 gives the base, the order does not matter", async () => {
    const start = gaussian(1, 80);
    const models = [tuned(start, 2), tuned(start, 3)];
    expect(relativeError(await mergeValues(breadcrumbs, { base: start, models: [models[0]!] }), models[0]!)).toBeLessThan(1e-6);
    expect(await mergeValues(breadcrumbs, { base: start, models, config: { lambda: 0, density: 0.5 } })).toEqual(start);
    const run = (m: Float32Array[]): Promise<Float32Array> =>
      mergeValues(breadcrumbs, { base: start, models: m, config: { density: 0.5 } });
    expect(relativeError(await run(models), await run(models.toReversed()))).toBeLessThan(1e-6);
  });

  it("keeps exactly the share, also of equal magnitudes and over chunks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 40 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (values, density, gamma) => {
          const out = await mergeValues(breadcrumbs, { base: values.map(() => 0), models: [values], config: { density, gamma } });
          expect(out.filter((v) => v !== 0).length).toBe(Math.floor(density * values.length));
        },
      ),
      { numRuns: 50 },
    );
    const n = 90_000;
    const big = gaussian(7, n).map((v) => (v === 0 ? 1 : v));
    const out = await mergeValues(breadcrumbs, { base: new Float32Array(n), models: [big], config: { density: 0.3, gamma: 0.1 } });
    const sorted = big.map(Math.abs).toSorted().toReversed();
    const kept = out.filter((v) => v !== 0).map(Math.abs);
    expect(kept.length).toBe(27_000);
    expect([Math.max(...kept.subarray(0)), kept.toSorted()[0]]).toEqual([sorted[9_000], sorted[35_999]]);
  });

  it("equals mergekit", async () => {
    await expectMergekit(breadcrumbs, "breadcrumbs");
    await expectMergekit(breadcrumbs, "breadcrumbs_ties", "breadcrumbs-ties");
  });
});
