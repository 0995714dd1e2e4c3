import { type Engine, f32, ortEngine, Rng } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { beforeAll, expect, it } from "vitest";
import { gpt2 } from "./architectures/gpt2.js";
import { mlp } from "./architectures/mlp.js";
import { createBlackBox } from "./black-box.js";
import { initWeights } from "./init.js";
import { createPredictor } from "./predictor.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const shape = mlp({ input_size: 3, hidden_sizes: [4], output_size: 3 });
const network = { ...shape, params: initWeights(shape.info, { seed: 1 }) };
const items = (n: number) => f32(new Rng(n).normalArray(3 * n), [n, 3]);
const rows = ({ data, shape: [n, m] }: { readonly data: ArrayLike<number | bigint>; readonly shape: readonly number[] }): number[][] =>
  Array.from({ length: n! }, (_, i) => Array.from({ length: m! }, (_, j) => Number(data[i * m! + j])));

it("tells logits, probabilities or labels of the same answers", async () => {
  const open = (offers: "logits" | "probabilities" | "labels") => createBlackBox(engine, network, { budget: 8, offers });
  const [logits, probabilities, labels] = await Promise.all((["logits", "probabilities", "labels"] as const).map(open));
  const x = items(5);
  const said = rows(await logits!.predict(x));
  const [p, hot] = [rows(await probabilities!.predict(x)), rows(await labels!.predict(x))];
  for (const [i, row] of said.entries()) {
    const sum = row.reduce((s, v) => s + Math.exp(v), 0);
    for (const [k, v] of row.entries()) expect(p[i]![k]).toBeCloseTo(Math.exp(v) / sum, 5);
    expect(hot[i]).toEqual(row.map((v) => (v === Math.max(...row) ? 1 : 0)));
  }
  await Promise.all([logits, probabilities, labels].map((box) => box!.dispose()));
});

it("counts examples, and refuses what goes past the budget before any work", async () => {
  const counting = countingEngine(engine);
  const box = await createBlackBox(counting, network, { budget: 5 });
  await expect(box.predict(items(6))).rejects.toMatchObject({ code: "BUDGET_EXCEEDED", details: { queries: 0, budget: 5, asked: 6 } });
  expect([box.queries, counting.counts.compiled]).toEqual([0, 0]);
  await box.predict(items(3));
  expect(box.queries).toBe(3);
  const both = await Promise.allSettled([box.predict(items(2)), box.predict(items(2))]);
  expect(both.map((r) => r.status)).toEqual(["fulfilled", "rejected"]);
  expect([box.queries, counting.counts.compiled]).toEqual([5, 1]);
  await expect(createBlackBox(engine, network, { budget: 1.5 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

it("gives queries back that it could not answer", async () => {
  const box = await createBlackBox(engine, network, { budget: 5 });
  await expect(box.predict(f32([1, 2, 3, 4], [1, 4]))).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  await expect(box.predict([[1, 2]])).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  expect(box.queries).toBe(0);
  await box.predict(items(5));
  expect(box.queries).toBe(5);
});

it("answers sequences with the token after them", async () => {
  const lm = gpt2({ vocab_size: 11, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 });
  const model = { ...lm, params: initWeights(lm.info, { seed: 2 }) };
  const box = await createBlackBox(engine, model, { budget: 2 });
  const said = rows(await box.predict([[1, 2, 3], [4]]));
  const predictor = await createPredictor(engine, model, "next");
  const wanted = await predictor.predict([[1, 2, 3], [4]]);
  expect(said).toEqual(wanted.map((t) => Array.from(t.data, Number)));
  await expect(box.predict([[1]])).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });
});

it("shows nothing of the model", async () => {
  const box = await createBlackBox(engine, network, { budget: 1, offers: "labels" });
  expect(Object.entries(box).map(([name, value]) => `${name}: ${typeof value}`)).toEqual([
    "queries: number",
    "budget: number",
    "offers: string",
    "predict: function",
    "dispose: function",
  ]);
  expect(Object.isFrozen(box)).toBe(true);
  expect(JSON.stringify(box)).toBe('{"queries":0,"budget":1,"offers":"labels"}');
  // What was taken from it does not lead anywhere either.
  expect(Reflect.ownKeys(box.predict).filter((key) => !["length", "name"].includes(String(key)))).toEqual([]);
});
