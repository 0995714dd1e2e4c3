import { isLfmError } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit, goldenCases, goldenOut, goldenRun, goldenValues, relativeError } from "../../test/mergekit-golden.js";
import { della, mergeDella } from "./della.js";

const l1 = (values: Float32Array): number => values.reduce((a, b) => a + Math.abs(b), 0);

describe("della", () => {
  it.each([["della"], ["della_linear"]])("with mergekit's draws equals mergekit: %s", (name) => {
    const preset = della.presets![name.replace("_", "-")]!.config;
    const drawn = goldenCases(name).filter((c) => c.masks);
    expect(drawn.length).toBeGreaterThan(3);
    for (const c of drawn) {
      const { tensor, result } = goldenRun(della, c, preset);
      mergeDella(tensor as Parameters<typeof mergeDella>[0], (model) => {
        const wanted = goldenValues(`probability/${c.name}/model-${model}`);
        const drawn = goldenValues(`mask/${c.name}/model-${model}`);
        let at = 0;
        return (probabilities, mask) => {
          expect(relativeError(probabilities, wanted.subarray(at, at + probabilities.length)), c.name).toBeLessThan(1e-6);
          mask.set(drawn.subarray(at, at + probabilities.length));
          at += probabilities.length;
        };
      });
      expect(relativeError(result, goldenOut(c)), c.name).toBeLessThanOrEqual(1e-6);
    }
  });

  it("dense, equals mergekit", async () => {
    await expectMergekit(della, "della");
    await expectMergekit(della, "della_linear", "della-linear");
  });

  it("keeps a share within 5σ of the density, the L1 norm, and more of the large than of the small", async () => {
    const [rows, width] = [400, 250];
    const n = rows * width;
    const values = gaussian(1, n);
    for (const [shape, density] of [
      [[rows, width], 0.4],
      [[n], 0.7],
    ] as const) {
      const config = { density, epsilon: 0.2 };
      const out = await mergeValues(della, { base: new Float32Array(n), models: [values], shape, config, preset: "della-linear" });
      const kept = out.filter((v) => v !== 0).length;
      expect(Math.abs(kept - n * density)).toBeLessThan(5 * Math.sqrt(n * density * (1 - density)));
      expect(Math.abs(l1(out) / l1(values) - 1)).toBeLessThan(1e-5);
      const small = out.filter((v, i) => v !== 0 && Math.abs(values[i]!) < 0.6744898).length;
      expect(small / (n / 2)).toBeCloseTo(density - 0.1, 1);
      expect((kept - small) / (n / 2)).toBeCloseTo(density + 0.1, 1);
    }
  });

  it("same seed, same bits; another seed, model or tensor place, other masks", async () => {
    const base = new Float32Array(5000);
    const one = gaussian(2, 5000);
    const run = (seed: number, models: Float32Array[]): Promise<Float32Array> =>
      mergeValues(della, { base, models, seed, config: { density: 0.5, rescale: false }, preset: "della-linear" });
    expect(await run(1, [one])).toEqual(await run(1, [one]));
    expect(await run(1, [one])).not.toEqual(await run(2, [one]));
    // Two copies with one mask would give only 0 and 2·τ.
    const twice = await run(1, [one, one]);
    expect(twice.filter((v, i) => v === one[i]).length).toBeGreaterThan(2000);
  });

  it("λ = 0 and density 0 give the base, one dense model itself", async () => {
    const base = gaussian(3, 60);
    const model = tuned(base, 4);
    expect(await mergeValues(della, { base, models: [model], config: { lambda: 0, density: 0.5 } })).toEqual(base);
    expect(await mergeValues(della, { base, models: [model], config: { density: 0 } })).toEqual(base);
    expect(relativeError(await mergeValues(della, { base, models: [model] }), model)).toBeLessThan(1e-6);
  });

  it("refuses chances outside (0, 1), and takes rows of one entry", async () => {
    const error = await mergeValues(della, { base: [0], models: [[1]], config: { density: 0.9 } }).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("0.9");
    const out = await mergeValues(della, { base: [0, 0, 0], models: [[1, 1, 1]], shape: [3, 1], config: { density: 0.5, rescale: false } });
    for (const v of out) expect([0, 1]).toContain(v);
  });
});
