import { Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { evolve } from "./evolution.js";

const sphere = (x: readonly number[]): number => x.reduce((s, v) => s + (v - 1) ** 2, 0);
const ellipsoid = (x: readonly number[]): number => x.reduce((s, v, i) => s + 100 ** (i / (x.length - 1)) * v * v, 0);
const rosenbrock = (x: readonly number[]): number => x.slice(1).reduce((s, v, i) => s + 100 * (v - x[i]! ** 2) ** 2 + (1 - x[i]!) ** 2, 0);

describe("(1+1)-CMA-ES", () => {
  it.each([1, 2, 3])("finds the minimum of the sphere, seed %s", async (seed) => {
    const { x, value } = await evolve(sphere, { start: [0, 0, 0, 0], sigma: 0.5, evaluations: 500, rng: new Rng(seed) });
    expect(value).toBeLessThan(1e-8);
    for (const v of x) expect(v).toBeCloseTo(1, 3);
  });

  it.each([1, 2, 3])("learns the axes of an ellipsoid and the valley of Rosenbrock's function, seed %s", async (seed) => {
    const axes = await evolve(ellipsoid, { start: [1, 1, 1, 1, 1], sigma: 0.5, evaluations: 2000, rng: new Rng(seed) });
    expect(axes.value).toBeLessThan(1e-8);
    const valley = await evolve(rosenbrock, { start: [0, 0, 0, 0], sigma: 0.3, evaluations: 6000, rng: new Rng(seed) });
    expect(valley.value).toBeLessThan(1e-6);
  });

  it("stays within its bound, counts evaluations, and never gets worse", async () => {
    let calls = 0;
    const out = await evolve(
      (x) => {
        calls++;
        expect(Math.max(...x.map(Math.abs))).toBeLessThanOrEqual(0.5);
        return sphere(x);
      },
      { start: [0, 0], sigma: 0.5, evaluations: 300, bound: 0.5, rng: new Rng(4) },
    );
    expect(calls).toBe(300);
    expect(out.x).toEqual([0.5, 0.5]);
    for (const [i, [at, best]] of out.curve.entries()) {
      expect(at).toBe(i);
      if (i > 0) expect(best).toBeLessThanOrEqual(out.curve[i - 1]![1]);
    }
  });

  it("goes on where the function has no value", async () => {
    const { value } = await evolve((x) => (x[0]! < 0 ? Number.NaN : sphere(x)), {
      start: [0.1],
      sigma: 0.5,
      evaluations: 200,
      rng: new Rng(5),
    });
    expect(value).toBeLessThan(1e-6);
  });
});
