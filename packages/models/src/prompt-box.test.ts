import { type Engine, f32, ortEngine, Rng } from "@lfm/core";
import { beforeAll, expect, it } from "vitest";
import { bert } from "./architectures/bert.js";
import { gpt2 } from "./architectures/gpt2.js";
import { mlp } from "./architectures/mlp.js";
import { createBlackBox } from "./black-box.js";
import { initWeights } from "./init.js";
import { createPromptBox } from "./prompt-box.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});
const shape = gpt2({ vocab_size: 11, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 });
const lm = { ...shape, params: initWeights(shape.info, { seed: 2, embeddingStd: 0.5 }) };

it("answers behind vectors of tokens as behind those tokens, rows of any lengths in their order; vectors are no queries", async () => {
  const [box, plain] = [await createPromptBox(engine, lm, { budget: 3 }), await createBlackBox(engine, lm, { budget: 3 })];
  const prompt = box.vectors([4, 9]);
  expect([prompt.shape, box.queries, box.width, box.vocabulary]).toEqual([[2, 8], 0, 8, 11]);
  const own = Array.from((await box.predict({ sequences: [[1], [1, 2, 3], [5, 6]], prompt })).data, Number);
  const theirs = Array.from(
    (
      await plain.predict([
        [4, 9, 1],
        [4, 9, 1, 2, 3],
        [4, 9, 5, 6],
      ])
    ).data,
    Number,
  );
  for (const [i, v] of own.entries()) expect(v).toBeCloseTo(theirs[i]!, 4);
  expect(box.queries).toBe(3);
  await expect(box.predict({ sequences: [[1]], prompt })).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });
  const [short, long] = [await createPromptBox(engine, lm, { budget: 9 }), [1, 2, 3, 4, 5, 6, 7]];
  for (const sequences of [[[]], [long]])
    await expect(short.predict({ sequences, prompt })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  expect(short.queries).toBe(0);
  expect(() => box.vectors([11])).toThrowError(/no token 11/);
  await Promise.all([box.dispose(), plain.dispose()]);
});

it("tells the spread of all vectors, and answers of a classifier's classes", async () => {
  const config = { vocab_size: 9, hidden_size: 4, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 4, num_labels: 3 };
  const net = bert({ ...config, architectures: ["BertForSequenceClassification"] });
  const model = { ...net, params: initWeights(net.info, { seed: 1, embeddingStd: 0.25 }) };
  const box = await createPromptBox(engine, model, { budget: 9, offers: "probabilities" });
  expect(box.spread).toBeCloseTo(0.25, 1);
  const found = await box.predict({ sequences: [[1, 2], [3]], prompt: f32(new Rng(1).normalArray(8), [2, 4]) });
  expect(found.shape).toEqual([2, 3]);
  expect(Array.from(found.data.slice(0, 3), Number).reduce((a, b) => a + b)).toBeCloseTo(1, 5);
  await box.dispose();
});

it("refuses a model that reads no tokens", async () => {
  const net = mlp({ input_size: 3, hidden_sizes: [], output_size: 2 });
  await expect(createPromptBox(engine, net, { budget: 1 })).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
});
