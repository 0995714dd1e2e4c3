import { type AnyMethod, type Engine, needs, ortEngine, parseConfig, Rng } from "@lfm/core";
import { adaMerging, average, ensemble, taskArithmetic } from "@lfm/reuse";
import { full, lora } from "@lfm/tuning";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CellContext } from "../../scenario.js";
import { domainSettings, mergeDomains } from "./domains.js";
import { loadNamedSet, spoken } from "./named-sets.js";
import { epochOrder, similarLengthOrder, spread } from "./sentence-model.js";
import { tuneSets } from "./sets-at-once.js";
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

  it("merges fine-tunes of four sets, made once for all cells", async () => {
    const run = mergeDomains({ ...domainSettings, steps: 4, lr: 1e-4, validation: 20, test: 60 });
    const cell = async (method: AnyMethod, options: object = {}) => run({ method, config: parseConfig(method, options) }, context());
    const averaged = await cell(average);
    const things = made.size;
    const scaled = await cell(taskArithmetic);
    const together = await cell(ensemble, { mode: "logits" });
    expect(made.size).toBe(things);
    const adapted = await cell(adaMerging, { granularity: "layer", steps: 2, lr: 1e-3 });
    expect([averaged, scaled, together, adapted].map((c) => c.dataUsed)).toEqual([0, 4 * 20, 0, 4 * 2 * 16]);
    expect(scaled.curves["validation accuracy by λ"]).toHaveLength(5);
    // A few small steps move the encoder little: merged, tuned and untouched models answer alike, and far better than chance.
    const { accuracy, baseAccuracy, individualAccuracy, sst2Base } = averaged.metrics;
    expect(baseAccuracy!.value).toBeGreaterThan(0.5);
    expect(sst2Base!.value).toBeGreaterThan(0.5);
    for (const m of [accuracy, individualAccuracy]) expect(Math.abs(m!.value! - baseAccuracy!.value!)).toBeLessThan(0.15);
    for (const c of [together, adapted]) expect(Math.abs(c.metrics.accuracy!.value! - accuracy!.value!)).toBeLessThan(0.1);
    expect(averaged.retention!.before).toBe(individualAccuracy!.value);
    expect(together.bytes).toBe(4 * averaged.bytes!);
  });

  it("tunes one encoder on all four sets", async () => {
    const run = tuneSets({ ...domainSettings, validation: 20, test: 60 });
    const cell = await run({ method: full, config: parseConfig(full, { steps: 3, lr: 1e-4 }) }, context());
    expect(cell.dataUsed).toBe(3 * 32);
    expect(cell.curves.loss).toHaveLength(3);
    // The mean of four cross entropies of an encoder that already knows something: below those of guessing.
    expect(cell.curves.loss![0]![1]).toBeLessThan([77, 150, 7, 2].reduce((sum, classes) => sum + Math.log(classes) / 4, 0));
    expect(cell.metrics.accuracy!.value).toBeGreaterThan(0.5);
    expect(Object.keys(cell.metrics)).toEqual(["accuracy", "banking77Accuracy", "clinc150Accuracy", "snipsAccuracy", "sst2Accuracy"]);
  });

  it("names classes in plain words, and batches hold sentences of similar length", async () => {
    expect(["BookRestaurant", "card_arrival", "pto_request"].map(spoken)).toEqual(["book restaurant", "card arrival", "pto request"]);
    const set = await loadNamedSet("sst2", { ...domainSettings, validation: 20, test: 60 }, context());
    expect(set.head.shape).toEqual([2, 384]);
    const data = set.head.data as Float32Array;
    for (const row of [data.subarray(0, 384), data.subarray(384)]) expect(Math.hypot(...row)).toBeCloseTo(1, 5);
    const order = similarLengthOrder(set.train.rows, 1);
    const pool = Array.from({ length: 16 }, (_, step) => order(step));
    expect(new Set(pool.flat()).size).toBe(16 * 32);
    const widest = (rows: readonly number[]) => Math.max(...rows.map((i) => set.train.rows[i]!.length));
    const least = (rows: readonly number[]) => Math.min(...rows.map((i) => set.train.rows[i]!.length));
    const sorted = [...pool].sort((a, b) => widest(a) - widest(b));
    for (const [i, rows] of sorted.slice(1).entries()) expect(least(rows)).toBeGreaterThanOrEqual(widest(sorted[i]!));
  });
});
