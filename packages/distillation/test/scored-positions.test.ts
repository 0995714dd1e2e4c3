import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, type HostTensor, i32, loadWeight, type MethodContext, ortEngine, Rng, runMethod } from "@lfm/core";
import { convnet, initWeights, llama, loadModel, saveModel } from "@lfm/models";
import { arrayClassificationTask, languageModelTask } from "@lfm/train";
import { expect, it } from "vitest";
import { dafl } from "../src/methods/dafl.js";
import { logitKd } from "../src/methods/logit-kd.js";

const context = async (): Promise<MethodContext> => ({
  engine: await ortEngine({ threads: 1 }),
  rng: new Rng(1),
  access: ["weights", "grad", "logits", "activations"],
  log: () => {},
  progress: () => {},
});

it("padding counts for nothing: one row has one loss, however long it is made", async () => {
  const sizes = { vocab_size: 11, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
  const model = (seed: number): ReturnType<typeof llama> => llama(sizes, initWeights(llama(sizes).info, { seed, embeddingStd: 0.7 }));
  const row = [1, 5, 3, 9, 2, 7];
  const padded = (pads: number): { tokens: HostTensor; weights: HostTensor } => ({
    tokens: i32([...row, ...new Array<number>(pads).fill(0)], [1, row.length + pads]),
    weights: f32([...row.map(() => 1), ...new Array<number>(pads).fill(0)], [1, row.length + pads]),
  });
  const losses = await Promise.all(
    [0, 10, 40].map(async (pads) => {
      const task = languageModelTask("row", () => padded(pads));
      const { curves } = await runMethod(logitKd, { teacher: model(1), student: model(2), task }, { steps: 1 }, await context());
      return curves.loss![0]![1];
    }),
  );
  expect(losses[1]).toBeCloseTo(losses[0]!, 5);
  expect(losses[2]).toBeCloseTo(losses[0]!, 5);
});

it("rows of a vocabulary that only one of both has stand for nothing: what is learned is as without them", async () => {
  const sizes = { hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
  const model = (rows: number, params?: Record<string, HostTensor>): ReturnType<typeof llama> =>
    llama(
      { ...sizes, vocab_size: rows },
      params ?? initWeights(llama({ ...sizes, vocab_size: rows }).info, { seed: rows, embeddingStd: 0.7 }),
    );
  const padded = model(12);
  const cut = (t: HostTensor): HostTensor =>
    t.shape[0] === 12 && t.shape[1] === 8 && t.data.length === 96 ? { ...t, shape: [10, 8], data: t.data.slice(0, 80) } : t;
  const embeddings = /embed_tokens|lm_head/;
  const plain = Object.fromEntries(
    Object.entries(padded.params).map(([name, w]) => [name, embeddings.test(name) ? cut(loadWeight(w)) : loadWeight(w)]),
  );
  const batch = { tokens: i32([1, 5, 3, 9, 2, 7], [2, 3]), weights: f32([1, 1, 1, 1, 1, 1], [2, 3]) };
  const task = languageModelTask("rows", () => batch);
  const learned = async (teacher: ReturnType<typeof llama>): Promise<object> =>
    (await runMethod(logitKd, { teacher, student: model(10), task }, { steps: 2 }, await context())).delta.tensors;
  expect(await learned(padded)).toEqual(await learned(model(10, plain)));
  expect(await learned(model(10))).not.toEqual(await learned(padded));
});

it("a batch-norm student that lies in files learns, by both methods", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lfm-distil-"));
  const config = { image_size: 8, widths: [3, 4], classes: 3 };
  const fresh = (seed: number): ReturnType<typeof convnet> => convnet(config, initWeights(convnet(config).info, { seed }));
  await saveModel(folder, fresh(2));
  const { model: student } = await loadModel(folder);
  const task = arrayClassificationTask("noise", "pixels", [1, 8, 8], (n) => ({
    x: f32(new Rng(n).normalArray(6 * 64), [6, 1, 8, 8]),
    labels: i32([0, 1, 2, 0, 1, 2]),
  }));
  const [a, b] = [
    await runMethod(logitKd, { teacher: fresh(1), student, task }, { steps: 2 }, await context()),
    await runMethod(logitKd, { teacher: fresh(1), student: fresh(2), task }, { steps: 2 }, await context()),
  ];
  expect(a.delta.tensors).toEqual(b.delta.tensors);
  const free = await runMethod(
    dafl,
    { teacher: fresh(1), student, itemShape: [1, 8, 8] },
    { steps: 2, batch: 8, noise: 4, width: 4 },
    await context(),
  );
  expect(Object.keys(free.delta.tensors)).toContain("features.0.norm.running_mean");
  rmSync(folder, { recursive: true });
});
