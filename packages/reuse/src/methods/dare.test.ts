import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { goldenCases, goldenOut, goldenRun, goldenValues, relativeError } from "../../test/mergekit-golden.js";
import { sparsifier } from "../merging/sparse-task-vectors.js";
import { dare, mergeDropped } from "./dare.js";

const zeros = new Float32Array(10_000);

describe("dare", () => {
  it("keeps the share of entries that was asked for, within five standard deviations, and the L1 norm", async () => {
    for (const density of [0.1, 0.5, 0.9]) {
      const model = gaussian(3, zeros.length);
      const out = await mergeValues(dare, { base: zeros, models: [model], config: { density }, seed: 5 });
      const kept = out.filter((v) => v !== 0).length;
      expect(Math.abs(kept - density * zeros.length)).toBeLessThan(5 * Math.sqrt(density * (1 - density) * zeros.length));
      const l1 = (values: Float32Array): number => values.reduce((s, v) => s + Math.abs(v), 0);
      expect(Math.abs(l1(out) / l1(model) - 1)).toBeLessThan(1e-5);
    }
  });

  it("keeps everything where the chance is next to 1", async () => {
    const model = gaussian(3, 1000);
    const out = await mergeValues(dare, { base: zeros.slice(0, 1000), models: [model], config: { density: 1 - 2 ** -40, rescale: false } });
    expect(out).toEqual(model);
  });

  it("paper: what is kept is divided by the density", async () => {
    const model = gaussian(3, 1000);
    const out = await mergeValues(dare, { base: zeros.slice(0, 1000), models: [model], config: { density: 0.25, mode: "paper" } });
    for (const [i, v] of out.entries()) if (v !== 0) expect(v).toBe(4 * model[i]!);
  });

  it("drops other entries of other models, and others with another seed; the same with the same seed", async () => {
    const ones = zeros.map(() => 1);
    const config = { density: 0.5, rescale: false };
    const one = await mergeValues(dare, { base: zeros, models: [ones, ones], config: { ...config, weight: [1, 2] } });
    // 0, 1, 2, 3: neither, the first, the second, both; a quarter each.
    for (const v of [0, 1, 2, 3]) expect(Math.abs(one.filter((x) => x === v).length - 2500)).toBeLessThan(220);
    const again = (seed: number): Promise<Float32Array> => mergeValues(dare, { base: zeros, models: [ones], config, seed });
    expect(await again(1)).toEqual(await again(1));
    expect(await again(1)).not.toEqual(await again(2));
  });

  it("with density 1 it is what it is without dropping; λ = 0 gives the base", async () => {
    const base = gaussian(1, 100);
    const models = [tuned(base, 2), tuned(base, 3)];
    const all = await mergeValues(dare, { base, models, config: { weight: [0.5, 0.5] } });
    for (const [i, v] of all.entries()) expect(v).toBeCloseTo((models[0]![i]! + models[1]![i]!) / 2, 5);
    expect(await mergeValues(dare, { base, models, config: { density: 0.5, lambda: 0 }, preset: "dare-ties" })).toEqual(base);
  });

  it.each(["dare_linear", "dare_ties"])("equals mergekit's %s where mergekit's masks are injected", (name) => {
    for (const c of goldenCases(name)) {
      const { tensor, result } = goldenRun(dare, c, { consensus: name === "dare_ties" ? "sum" : "none" });
      const masks = tensor.models.map((_, i) => (c.masks ? goldenValues(`mask/${c.name}/model-${i}`) : undefined));
      const drop = (values: Float32Array, model: number, start: number): void => {
        const mask = masks[model];
        if (mask) for (let i = 0; i < values.length; i++) values[i] = values[i]! * mask[start + i]!;
      };
      mergeDropped(tensor as never, sparsifier(drop));
      expect(relativeError(result, goldenOut(c)), c.name).toBeLessThanOrEqual(1e-6);
    }
  });
});
