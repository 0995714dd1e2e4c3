import { compile, constant, type Engine, f32, full, grad, type HostTensor, ortEngine, sum, type Tensor } from "@lfm/core";
import { beforeAll, describe, expect, it } from "vitest";
import type { JudgedRow } from "../examples/preference-rows.js";
import { tuningMethods } from "../methods/index.js";
import { type DpoConfig, dpo, dpoLoss } from "./dpo.js";
import { objectives } from "./index.js";
import { type KtoConfig, kto, ktoLoss } from "./kto.js";
import { oddsRatioLoss } from "./orpo.js";
import { bradleyTerryLoss, reward } from "./reward.js";
import { chosenTask, taskOptions } from "./task-options.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

/** Values f32[n] of a function of vectors, and the gradient of their sum. */
async function valuesOf(
  given: Readonly<Record<string, readonly number[]>>,
  f: (x: Readonly<Record<string, Tensor>>) => Tensor,
): Promise<{ readonly values: number[]; readonly gradient: Record<string, number[]> }> {
  const inputs = Object.fromEntries(Object.entries(given).map(([name, v]) => [name, f32(v)]));
  const specs = Object.fromEntries(Object.entries(inputs).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const run = await compile(engine, { x: specs }, ({ x }) => {
    const values = f(x);
    // Losses of rows do not depend on one another, but for KTO's KL, which no gradient goes through.
    return { values, gradient: grad(sum(values), x) };
  });
  const out = await run({ x: inputs });
  await run.dispose();
  const numbers = (t: HostTensor): number[] => Array.from(t.data, Number);
  return { values: numbers(out.values), gradient: Object.fromEntries(Object.entries(out.gradient).map(([name, t]) => [name, numbers(t)])) };
}

const sigma = (x: number): number => 1 / (1 + Math.exp(-x));

describe("dpo", () => {
  const loss = (options: Partial<DpoConfig>, chosen: readonly number[], rejected: readonly number[]) =>
    valuesOf({ chosen, rejected }, ({ chosen, rejected }) => {
      const lengths = { chosen: full(chosen!.shape, 2), rejected: full(rejected!.shape, 4) };
      return dpoLoss({ chosen: chosen!, rejected: rejected! }, lengths, dpo.config.parse(options));
    });

  it("is log 2 before anything is learned, and pulls the chosen up and the rejected down by β/2", async () => {
    const { values, gradient } = await loss({ beta: 0.4 }, [0], [0]);
    expect(values[0]).toBeCloseTo(Math.log(2), 6);
    expect(gradient.chosen![0]).toBeCloseTo(-0.2, 6);
    expect(gradient.rejected![0]).toBeCloseTo(0.2, 6);
  });

  it("by hand: −log σ(0.5·(1.2 + 0.8)), smoothed, robust, hinge and ipo", async () => {
    const of = async (options: Partial<DpoConfig>): Promise<number> => (await loss({ beta: 0.5, ...options }, [1.2], [-0.8])).values[0]!;
    const [right, swapped] = [-Math.log(sigma(1)), -Math.log(sigma(-1))];
    expect(await of({})).toBeCloseTo(right, 6);
    expect(await of({ labelSmoothing: 0.1 })).toBeCloseTo(0.9 * right + 0.1 * swapped, 6);
    expect(await of({ lossType: "robust", labelSmoothing: 0.1 })).toBeCloseTo((0.9 * right - 0.1 * swapped) / 0.8, 6);
    expect(await of({ lossType: "hinge" })).toBeCloseTo(0, 6);
    // 1.2/2 − (−0.8)/4 = 0.8, less 1/(2·0.5) = 1
    expect(await of({ lossType: "ipo" })).toBeCloseTo(0.04, 6);
  });

  it("stays finite where it is far off", async () => {
    const { values, gradient } = await loss({ beta: 1 }, [-500, 500], [500, -500]);
    expect(values[0]).toBeCloseTo(1000, 3);
    expect(values[1]).toBe(0);
    expect(gradient.chosen).toEqual([-1, -0]);
  });

  it("refuses smoothing where it has no meaning", () => {
    expect(() => dpo.task(dpo.config.parse({ lossType: "hinge", labelSmoothing: 0.1 }))).toThrow(/hinge has no label smoothing/);
    expect(() => dpo.task(dpo.config.parse({ lossType: "robust", labelSmoothing: 0.5 }))).toThrow(/nothing to go by/);
  });
});

describe("kto", () => {
  const loss = (options: Partial<KtoConfig>, ratios: readonly number[], mismatched: readonly number[]) =>
    valuesOf({ ratios, mismatched }, (x) => ktoLoss(x.ratios!, x.mismatched!, constant(f32([1, 0])), kto.config.parse(options)).losses);

  it("by hand: w_d·(1 − σ(β·(r − z))) and w_u·(1 − σ(β·(z − r))), z the mean over mismatched pairs, without a gradient", async () => {
    const options = { beta: 0.5, desirableWeight: 2, undesirableWeight: 3 };
    const { values, gradient } = await loss(options, [1, 2], [0.6, 0.2]);
    const z = 0.4;
    expect(values[0]).toBeCloseTo(2 * (1 - sigma(0.5 * (1 - z))), 6);
    expect(values[1]).toBeCloseTo(3 * (1 - sigma(0.5 * (z - 2))), 6);
    expect(gradient.ratios![0]).toBeLessThan(0);
    expect(gradient.ratios![1]).toBeGreaterThan(0);
    expect(gradient.mismatched).toEqual([0, 0]);
  });

  it("takes a KL below 0 for 0", async () => {
    const below = await loss({}, [1, 2], [-5, -3]);
    expect(below.values).toEqual((await loss({}, [1, 2], [0, 0])).values);
  });

  it("mismatches the completions of a batch among themselves, cut at the room that rows have", () => {
    const row = (prompt: readonly number[], completion: readonly number[]): JudgedRow => ({
      ids: [...prompt, ...completion],
      weights: [...prompt.map(() => 0), ...completion.map(() => 1)],
      whole: 0,
      head: prompt.length,
      room: 4,
      desirable: true,
    });
    const rows = [row([1, 2], [3]), row([4], [5, 6]), row([7, 8, 9], [10])];
    expect(kto.batch(rows, [0, 1, 2]).mismatched_tokens!.data).toEqual(Int32Array.of(1, 2, 10, 0, 4, 3, 0, 0, 7, 8, 9, 5));
    // A batch of one row borrows from the next.
    expect(kto.batch(rows, [2]).mismatched_tokens!.data).toEqual(Int32Array.of(7, 8, 9, 3));
    expect(() => kto.batch(rows.slice(0, 1), [0])).toThrow(/one row has none/);
  });
});

describe("orpo", () => {
  const loss = (chosen: readonly number[], rejected: readonly number[]) =>
    valuesOf({ chosen, rejected }, (x) => oddsRatioLoss({ chosen: x.chosen!, rejected: x.rejected! }));

  it("by hand: −log σ of the log odds ratio; log 2 where both are as likely", async () => {
    const { values, gradient } = await loss([Math.log(0.5), Math.log(0.8)], [Math.log(0.5), Math.log(0.2)]);
    expect(values[0]).toBeCloseTo(Math.log(2), 6);
    expect(values[1]).toBeCloseTo(-Math.log(sigma(Math.log(4) - Math.log(0.25))), 6);
    expect(gradient.chosen!.every((g) => g < 0)).toBe(true);
    expect(gradient.rejected!.every((g) => g > 0)).toBe(true);
  });

  it("has accurate odds for tokens that are all but certain, and finite ones for certain tokens", async () => {
    const near = -1e-5;
    const { values } = await loss([near, 0], [-1, -1]);
    const odds = (x: number): number => x - Math.log(-Math.expm1(x));
    expect(values[0]! / Math.log1p(Math.exp(odds(-1) - odds(near)))).toBeCloseTo(1, 4);
    expect(Number.isFinite(values[1])).toBe(true);
  });
});

it("reward by hand: −log σ(r(chosen) − r(rejected) − margin) + c·(sum)²", async () => {
  const given = { chosen: [1, 1], rejected: [1, -0.5], margins: [0, 0.5] };
  const of = (centerRewards: number) =>
    valuesOf(given, (x) =>
      bradleyTerryLoss({ chosen: x.chosen!, rejected: x.rejected! }, x.margins!, reward.config.parse({ centerRewards })),
    );
  const { values, gradient } = await of(0);
  expect(values[0]).toBeCloseTo(Math.log(2), 6);
  expect(values[1]).toBeCloseTo(-Math.log(sigma(1)), 6);
  expect(gradient.chosen![0]).toBeCloseTo(-0.5, 6);
  expect(gradient.rejected![0]).toBeCloseTo(0.5, 6);
  expect((await of(0.1)).values[0]).toBeCloseTo(Math.log(2) + 0.4, 6);
});

describe("the options of all objectives", () => {
  it("are those of each, with the objective's own defaults", () => {
    for (const { id, config } of objectives) {
      const given = chosenTask({ objective: id });
      expect(given.objective?.id).toBe(id);
      expect(given.config).toEqual({});
      for (const name of Object.keys(config.shape)) expect(Object.keys(taskOptions.shape), name).toContain(name);
    }
    expect(chosenTask({ objective: "dpo", beta: 0.3, lossType: "ipo" }).config).toEqual({ beta: 0.3, lossType: "ipo" });
    expect(chosenTask({})).toEqual({ objective: undefined, config: {}, pack: false, groupByLength: false });
  });

  it("are refused where the objective has no use for them", () => {
    expect(() => chosenTask({ objective: "kto", labelSmoothing: 0.1 })).toThrow(/kto has no labelSmoothing/);
    expect(() => chosenTask({ beta: 0.1 })).toThrow(/likelihood has no beta/);
    expect(() => chosenTask({ objective: "dpo", pack: true })).toThrow(/not packed/);
    expect(() => chosenTask({ objective: "dpo", beta: -1 })).toThrow(/beta/);
  });

  it("are called otherwise than those of any method: one flag would set both", () => {
    const names = Object.keys(taskOptions.shape);
    for (const method of tuningMethods)
      expect(
        Object.keys(method.config.shape).filter((name) => names.includes(name)),
        method.id,
      ).toEqual([]);
  });
});
