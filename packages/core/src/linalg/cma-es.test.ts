import { describe, expect, it } from "vitest";
import { linalgGolden } from "../../test/linalg-golden.js";
import { Rng } from "../rng.js";
import { cmaEs } from "./cma-es.js";
import { elitistCmaEs } from "./elitist-cma-es.js";
import { minimise, type Search } from "./search.js";

type F = (x: readonly number[]) => number;
const sphere: F = (x) => x.reduce((s, v) => s + (v - 1) ** 2, 0);
const axes =
  (ratio: number): F =>
  (x) =>
    x.reduce((s, v, i) => s + ratio ** (i / (x.length - 1)) * v * v, 0);
const rosenbrock: F = (x) => x.slice(1).reduce((s, v, i) => s + 100 * (v - x[i]! ** 2) ** 2 + (1 - x[i]!) ** 2, 0);
const search = { "(1+1)": elitistCmaEs, "(μ/μ, λ)": cmaEs } as const;
const kinds = Object.keys(search) as (keyof typeof search)[];

describe("(1+1)-CMA-ES", () => {
  it.each([1, 2, 3])("finds the minimum of the sphere, seed %s", async (seed) => {
    const { x, value } = await minimise(sphere, elitistCmaEs({ start: [0, 0, 0, 0], sigma: 0.5, rng: new Rng(seed) }), {
      evaluations: 500,
    });
    expect(value).toBeLessThan(1e-8);
    for (const v of x) expect(v).toBeCloseTo(1, 3);
  });

  it.each([1, 2, 3])("learns the axes of an ellipsoid and the valley of Rosenbrock's function, seed %s", async (seed) => {
    const ellipsoid = elitistCmaEs({ start: [1, 1, 1, 1, 1], sigma: 0.5, rng: new Rng(seed) });
    expect((await minimise(axes(100), ellipsoid, { evaluations: 2000 })).value).toBeLessThan(1e-8);
    const valley = elitistCmaEs({ start: [0, 0, 0, 0], sigma: 0.3, rng: new Rng(seed) });
    expect((await minimise(rosenbrock, valley, { evaluations: 6000 })).value).toBeLessThan(1e-6);
  });
});

describe("(μ/μ, λ)-CMA-ES", () => {
  type Golden = { function: string; n: number; start: number[]; sigma: number; evaluations: number };
  const functions: Readonly<Record<string, F>> = { sphere, ellipsoid: axes(1e6), rosenbrock };
  it.each(linalgGolden<Golden[]>("cma-es").map((c) => [c.function, c.n, c] as const))(
    "%s in %s variables: below 1e-9 after about as many evaluations as pycma",
    (_name, n, { function: name, start, sigma, evaluations }) => {
      const counts = Array.from({ length: 21 }, (_, seed) => {
        const es = cmaEs({ start, sigma, rng: new Rng(seed) });
        let count = 0;
        while (es.best.value >= 1e-9 && count < 20_000) {
          const values = es.ask().map(functions[name]!);
          es.tell(values);
          count += values.length;
        }
        return count;
      }).sort((a, b) => a - b);
      const median = counts[10]!;
      expect(median / evaluations, `${median} evaluations of ${name} in ${n} variables, pycma ${evaluations}`).toBeLessThan(1.25);
      expect(median / evaluations).toBeGreaterThan(0.7);
    },
  );

  it("looks at nothing but the order of values", () => {
    const run = (f: F): readonly number[] => {
      const es = cmaEs({ start: [3, -2, 1], sigma: 1, rng: new Rng(7) });
      for (let i = 0; i < 50; i++) es.tell(es.ask().map(f));
      return es.best.x;
    };
    expect(run((x) => Math.exp(sphere(x)) * 1000 - 5)).toEqual(run(sphere));
  });

  it("takes a larger population, and refuses one of a single point", () => {
    const es = cmaEs({ start: [0, 0], sigma: 1, population: 20, rng: new Rng(1) });
    expect(es.ask().length).toBe(20);
    expect(cmaEs({ start: [0, 0, 0], sigma: 1, rng: new Rng(1) }).ask().length).toBe(7);
    expect(() => cmaEs({ start: [0], sigma: 1, population: 1, rng: new Rng(1) })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
  });
});

describe.each(kinds)("%s", (kind) => {
  const from = (start: readonly number[], seed: number, bound?: number): Search =>
    search[kind]({ start, sigma: 0.5, rng: new Rng(seed), ...(bound === undefined ? {} : { bound }) });

  it("stays within its bound, counts evaluations, and never gets worse", async () => {
    let calls = 0;
    const told: number[] = [];
    const f: F = (x) => {
      calls++;
      expect(Math.max(...x.map(Math.abs))).toBeLessThanOrEqual(0.5);
      return sphere(x);
    };
    const out = await minimise(f, from([0, 0], 4, 0.5), {
      evaluations: 301,
      onEvaluation: (done) => {
        told.push(done);
      },
    });
    expect(calls).toBe(301);
    expect(told).toEqual(Array.from({ length: 301 }, (_, i) => i + 1));
    expect(out.x).toEqual([0.5, 0.5]);
    expect(out.value).toBe(0.5);
    for (const [i, [at, best]] of out.curve.entries()) {
      expect(at).toBe(i);
      if (i > 0) expect(best).toBeLessThanOrEqual(out.curve[i - 1]![1]);
    }
    expect(out.curve.at(-1)![1]).toBe(out.value);
  });

  it("goes on where the function has no value", async () => {
    const f: F = (x) => (x[0]! < 0 ? Number.NaN : sphere(x));
    expect((await minimise(f, from([0.1], 5), { evaluations: 300 })).value).toBeLessThan(1e-6);
    const nowhere = await minimise(() => Number.NaN, from([0.1, 2], 5), { evaluations: 30 });
    expect(nowhere.value).toBe(Number.POSITIVE_INFINITY);
    expect(nowhere.x.every(Number.isFinite)).toBe(true);
  });

  it("asks for the same points until it is told; same seed, same points", () => {
    const [a, b] = [from([1, 2, 3], 9), from([1, 2, 3], 9)];
    for (let i = 0; i < 20; i++) {
      expect(a.ask()).toBe(a.ask());
      expect(a.ask()).toEqual(b.ask());
      for (const s of [a, b]) s.tell(s.ask().map(sphere));
    }
    expect(a.best).toEqual(b.best);
  });

  it("refuses values that nobody asked for, or of other points", () => {
    const s = from([0, 0], 1);
    expect(() => s.tell([])).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    s.ask();
    expect(() => s.tell(Array.from({ length: 99 }, () => 1))).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
  });
});
