import { f32, i32, isLfmError, type MethodContext, type Model, ortEngine, Rng, runMethod } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { arrayClassificationTask, type LearningTask } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { task as few, context as quiet, model as untrained } from "../test/small-classifier.js";
import type { TuningOutput } from "./define-tuning.js";
import { isForgetting, riseOf } from "./forgetting-monitor.js";
import { full } from "./methods/full.js";
import { lora } from "./methods/lora.js";

describe("a rise", () => {
  it("is the mean over paired batches, with its standard error, by hand", () => {
    const batch = (loss: number, weight = 1) => ({ loss, weight });
    const found = riseOf([batch(1), batch(5), batch(3)], [batch(1.2), batch(5.4), batch(3.3)]);
    expect(found.rise).toBeCloseTo(0.3, 12);
    // √(((−0.1)² + 0.1² + 0²)·3/2)/3: the spread of the three rises, by √3.
    expect(found.standardError).toBeCloseTo(0.1 / Math.sqrt(3), 12);
    expect(riseOf([batch(1, 3), batch(2, 1)], [batch(2, 3), batch(2, 1)]).rise).toBeCloseTo(0.75, 12);
    expect(riseOf([batch(1)], [batch(1.5)])).toMatchObject({ rise: 0.5, standardError: 0 });
  });

  it("is told where it is above the limit and above three standard errors", () => {
    const of = (rise: number, standardError: number) => isForgetting({ before: 1, after: 1 + rise, rise, standardError }, 0.1);
    expect([of(0.11, 0), of(0.11, 0.03), of(0.11, 0.05), of(0.09, 0), of(-0.5, 0)]).toEqual([true, true, false, false, false]);
  });
});

/** Points of a plane in two classes, told apart by a line; new ones lie further along it, where it has risen. */
function points(seed: number, count: number, shift: number, flipped: boolean): { readonly x: number[]; readonly labels: number[] } {
  const rng = new Rng(seed);
  const x: number[] = [];
  const labels = Array.from({ length: count }, (_, i) => {
    x.push(shift + rng.normal(), (i % 2 === 0 ? 1 : -1) + shift / 3 + 0.4 * rng.normal());
    return flipped ? (i + 1) % 2 : i % 2;
  });
  return { x, labels };
}

function taskOf(name: string, seed: number, shift = 0, flipped = false): LearningTask {
  const { x, labels } = points(seed, 64, shift, flipped);
  const batches = (n: number) => {
    const k = n % 4;
    return { x: f32(x.slice(k * 32, k * 32 + 32), [16, 2]), labels: i32(labels.slice(k * 16, k * 16 + 16)) };
  };
  return arrayClassificationTask(name, "features", [2], batches, 4);
}

describe("the monitor", () => {
  let base: Model;
  let engine: MethodContext["engine"];
  const contextOf = (seed: number, log: string[] = []): MethodContext => ({
    engine,
    rng: new Rng(seed),
    access: ["weights", "grad"],
    log: (m) => log.push(m),
    progress: () => {},
  });
  beforeAll(async () => {
    engine = await ortEngine({ threads: 1 });
    const plain = mlp({ input_size: 2, hidden_sizes: [16], output_size: 2 });
    const fresh = { ...plain, params: initWeights(plain.info, { seed: 1 }) };
    base = (await runMethod(full, { model: fresh, task: taskOf("old", 1) }, { steps: 200, lr: 0.01 }, contextOf(1))).model;
  });
  const run = async (flipped: boolean, seed: number): Promise<TuningOutput & { readonly log: readonly string[] }> => {
    const log: string[] = [];
    const inputs = { model: base, task: taskOf("new", 10 + seed, 3, flipped), retained: { task: taskOf("held out", 99) } };
    return { ...(await runMethod(full, inputs, { steps: 60, lr: 0.01 }, contextOf(seed, log))), log };
  };

  it.each([1, 2, 3, 4, 5])("warns of a run that is made to forget, in its log and its result (seed %i)", async (seed) => {
    const { monitors, log, curves } = await run(true, seed);
    expect(monitors).toMatchObject([{ id: "catastrophic-forgetting", warning: true, threshold: 0.1 }]);
    expect(monitors![0]!.value!).toBeGreaterThan(0.1);
    expect(log.filter((m) => m.startsWith("⚠"))).toHaveLength(1);
    expect(curves["kept.loss"]!.map(([step]) => step)).toEqual([5, 11, 17, 23, 29, 35, 41, 47, 53, 59]);
  });

  it.each([1, 2, 3, 4, 5])("is silent on one that learns in peace (seed %i)", async (seed) => {
    const { monitors, log, curves } = await run(false, seed);
    expect(monitors).toMatchObject([{ warning: false }]);
    expect(log).toEqual([]);
    const meanOf = (points: readonly (readonly [number, number])[]): number => points.reduce((sum, [, v]) => sum + v, 0) / points.length;
    expect(meanOf(curves.loss!.slice(-4))).toBeLessThan(meanOf(curves.loss!.slice(0, 4)) / 2);
  });

  it("asks for examples where it is told how often to look, and refuses a fresh head", async () => {
    const refusal = (given: object, options: object): Promise<unknown> =>
      runMethod(lora, { model: untrained, task: few, ...given }, { steps: 1, r: 1, ...options }, quiet).catch((e: unknown) => e);
    const without = await refusal({}, { monitorEvery: 1 });
    expect(isLfmError(without, "CONFIG_INVALID") && without.hint).toContain("--retained");
    expect(isLfmError(await refusal({ retained: { task: few }, fresh: ["fc2.weight"] }, {}), "CAPABILITY_MISSING")).toBe(true);
  });
});
