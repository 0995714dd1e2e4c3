import { type Engine, needs, ortEngine, parseConfig, Rng } from "@lfm/core";
import { average, taskArithmetic } from "@lfm/reuse";
import { full, lora } from "@lfm/tuning";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CellContext } from "../../scenario.js";
import { domainSettings, mergeDomains } from "./domains.js";
import { epochOrder, spread } from "./sentence-model.js";
import { clinc150, sst2 } from "./tuning.js";

const folders = { data: process.env.LFM_DATA, models: process.env.LFM_MODELS };

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine();
});
afterAll(() => engine.dispose());

const made = new Map<string, Promise<unknown>>();
function context(): CellContext {
  const shared = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    const there = made.get(key) ?? make();
    made.set(key, there);
    return there as Promise<T>;
  };
  return { engine, rng: new Rng(1), seed: 1, access: needs, folders, shared, log: () => {}, progress: () => {} };
}

describe("order of examples", () => {
  it("shows every example once per epoch, in another order each time", () => {
    const order = epochOrder(10, 3, 5);
    const epochs = [0, 1].map((e) => [...order(2 * e), ...order(2 * e + 1)]);
    for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(epochOrder(10, 3, 5)(1)).toEqual(order(1));
    expect(spread([0, 1, 2, 3, 4, 5], 3)).toEqual([0, 2, 4]);
  });
});

describe.skipIf(!folders.data || !folders.models)("MiniLM (skipped without LFM_DATA and LFM_MODELS)", () => {
  const short = { steps: 5, lr: 1e-3 };

  it("tunes a fresh head and LoRA on CLINC150", async () => {
    const cell = await clinc150.run({ method: lora, config: parseConfig(lora, short) }, context());
    // 6 layers of q, k, v, o (384 → 384) and an MLP of 1,536, rank 8, and the head of 150 classes.
    expect(cell.trainableParams).toBe(6 * 8 * (4 * 768 + 2 * (384 + 1536)) + 150 * 385);
    expect(cell.dataUsed).toBe(5 * 32);
    expect(cell.curves.loss).toHaveLength(5);
    expect(cell.curves.loss![0]![1]).toBeCloseTo(Math.log(150), 0);
    expect(cell.metrics.accuracy!.value).toBeGreaterThan(1 / 150);
    expect(cell.retention!.before).toBeGreaterThan(0.7);
  });

  it("tunes everything on SST-2", async () => {
    const cell = await sst2.run({ method: full, config: parseConfig(full, short) }, context());
    expect(cell.metrics.trainedShare!.value).toBe(1);
    expect(cell.metrics.accuracy!.note).toContain("1821 test sentences, 2 classes");
    expect(cell.metrics.accuracy!.value).toBeGreaterThan(0.45);
  });

  it("merges fine-tunes of three sets, made once for all cells", async () => {
    const run = mergeDomains({ ...domainSettings, headExamples: 300, headSteps: 100, steps: 3, lr: 1e-5, validation: 20, test: 60 });
    const averaged = await run({ method: average, config: parseConfig(average, {}) }, context());
    const things = made.size;
    const scaled = await run({ method: taskArithmetic, config: parseConfig(taskArithmetic, {}) }, context());
    expect(made.size).toBe(things);
    expect(averaged.dataUsed).toBe(0);
    expect(scaled.dataUsed).toBe(60);
    expect(scaled.curves["validation accuracy by λ"]).toHaveLength(5);
    // Three tiny steps move the encoder little: merged, tuned and untouched models answer alike, and far better than chance.
    const { accuracy, baseAccuracy, tunedAccuracy } = averaged.metrics;
    expect(baseAccuracy!.value).toBeGreaterThan(0.3);
    for (const m of [accuracy, tunedAccuracy]) expect(Math.abs(m!.value! - baseAccuracy!.value!)).toBeLessThan(0.1);
    expect(averaged.retention!.before).toBe(tunedAccuracy!.value);
  });
});
