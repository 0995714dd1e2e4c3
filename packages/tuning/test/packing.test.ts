import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  broadcastTo,
  compile,
  concat,
  type Engine,
  f32,
  full,
  grad,
  type Hook,
  type HostTensor,
  type MethodContext,
  type Model,
  ortEngine,
  type ParamTree,
  Rng,
  runMethod,
  trainableParams,
  widenToF32,
} from "@lfm/core";
import { readWeights } from "@lfm/formats";
import { modelFromConfig } from "@lfm/models";
import { type LearningTask, languageModelTask, modelTraining, type WhatLearns } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { languageBatch, lora, packedBatch, packedTask, prompt, type TokenRow } from "../src/index.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

function fixture(name: string): Model {
  const folder = join(import.meta.dirname, "../../models/test/golden", name);
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
  return modelFromConfig(config, readWeights(join(folder, "model.safetensors")).weights);
}

const rng = new Rng(4);
/** Rows of 7, 3, 5 and 2 tokens; the first ones of each are a prompt. */
const rows: readonly TokenRow[] = [7, 3, 5, 2].map((length) => ({
  ids: Array.from({ length }, () => rng.int(90)),
  weights: Array.from({ length }, (_, i) => (i >= Math.min(2, length - 1) ? 1 : 0)),
  whole: length,
}));
const unpacked: LearningTask = languageModelTask("rows", () => languageBatch(rows));
const inOneRow: LearningTask = { ...packedTask(rows, { batchSize: 1, maxLength: 100, seed: 0 }) };
const inTwoRows: LearningTask = {
  ...inOneRow,
  batches: () =>
    packedBatch([
      [rows[1]!, rows[0]!],
      [rows[3]!, rows[2]!],
    ]),
};

async function lossAndGradients(
  model: Model,
  task: LearningTask,
  what: WhatLearns,
): Promise<{ loss: number; gradients: Record<string, HostTensor> }> {
  const { trainable, frozen, loss } = modelTraining(model, task, what);
  const batch = task.batches(0);
  const specs = Object.fromEntries(Object.entries(batch).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const learned = Object.fromEntries(Object.entries(trainable).map(([name, { shape }]) => [name, { dtype: "f32" as const, shape }]));
  const f = await compile(
    engine,
    { batch: specs, learned },
    (inputs, rest) => {
      const zero = full([], 0, "i32");
      const found = loss({ ...rest, ...inputs.learned }, inputs.batch, { key: zero, step: full([], 1) });
      return { loss: found.loss, gradients: grad(found.loss, inputs.learned) };
    },
    { frozen },
  );
  const out = await f({ batch, learned: trainable });
  await f.dispose();
  return { loss: Number(out.loss.data[0]), gradients: out.gradients };
}

async function expectEqual(model: Model, what: WhatLearns, packings: readonly LearningTask[] = [inTwoRows]): Promise<void> {
  const alone = await lossAndGradients(model, unpacked, { ...what, dropout: false });
  for (const task of packings) {
    const packed = await lossAndGradients(model, task, { ...what, dropout: false });
    expect(Math.abs(packed.loss - alone.loss)).toBeLessThan(1e-5);
    for (const [name, g] of Object.entries(alone.gradients)) {
      const [right, found] = [Array.from(g.data, Number), Array.from(packed.gradients[name]!.data, Number)];
      const scale = Math.max(1, ...right.map(Math.abs));
      expect(Math.max(...right.map((v, i) => Math.abs(v - found[i]!))) / scale, name).toBeLessThan(1e-5);
    }
  }
}

describe("several examples in a row are learned as one by one: loss and gradients", () => {
  it.each(["llama", "gpt2", "gemma2"])("%s, all parameters", async (name) => {
    const model = fixture(name);
    await expectEqual(model, { learned: trainableParams(model) }, name === "llama" ? [inOneRow, inTwoRows] : [inTwoRows]);
  });

  it("behind prompts, which every example sees", async () => {
    const model = fixture("llama");
    const vectors = f32(new Rng(2).normalArray(3 * model.info.hiddenSize), [3, model.info.hiddenSize]);
    const config = prompt.config.parse({ numVirtualTokens: 3 });
    await expectEqual(model, { learned: { prompt_embeddings: vectors }, hooks: (t) => prompt.delta.hooks(config, t, []) });
  });

  it("behind keys and values that a hook puts in front", async () => {
    const model = fixture("llama");
    const site = model.info.sites.find((s) => s.kind === "kv")!;
    const { kvHeads, headDim } = site.attention!;
    const shape = [1, kvHeads, 2, headDim];
    const draw = (seed: number): HostTensor => f32(new Rng(seed).normalArray(2 * kvHeads * headDim), shape);
    const hooks = (t: ParamTree): readonly Hook[] => [
      {
        matches: (s) => s.kind === "kv",
        kv: ({ key, value, mask }) => {
          const batch = key.dim(0);
          const front = (x: ParamTree[string]) => broadcastTo(x, [batch, kvHeads, 2, headDim]);
          return {
            key: concat([front(t.key!), key], 2),
            value: concat([front(t.value!), value], 2),
            mask: mask && concat([full([batch, 2], 1), mask], 1),
          };
        },
      },
    ];
    await expectEqual(model, { learned: { key: draw(1), value: draw(2) }, hooks });
  });
});

it("without keeping them apart the loss is another one", async () => {
  const model = fixture("llama");
  const learned = { "model.norm.weight": widenToF32(trainableParams(model, ["model.norm.weight"])["model.norm.weight"]!) };
  const alone = await lossAndGradients(model, unpacked, { learned });
  const mixed = {
    ...inOneRow,
    batches: () => ({ ...inOneRow.batches(0), packed: { ...inOneRow.batches(0).packed!, data: new Int32Array(17) } }),
  };
  expect(Math.abs((await lossAndGradients(model, mixed, { learned })).loss - alone.loss)).toBeGreaterThan(1e-2);
});

it("an epoch shows every example once, in fewer rows", () => {
  const many: readonly TokenRow[] = Array.from({ length: 30 }, (_, i) => ({
    ids: Array(2 + (i % 5)).fill(i),
    weights: Array(2 + (i % 5)).fill(1),
    whole: 0,
  }));
  const task = packedTask(many, { batchSize: 2, maxLength: 16, seed: 1 });
  expect(task.perEpoch).toBeLessThan(30 / 2);
  const firsts: number[] = [];
  for (let n = 0; n < task.perEpoch!; n++) {
    const { tokens, positions, packed, weights } = task.batches(n);
    const counted = Array.from(packed!.data, Number);
    for (const [i, at] of Array.from(positions!.data, Number).entries()) {
      const filler = i > 0 && counted[i] === counted[i - 1] && at === 0 && i % tokens!.shape[1]! !== 0;
      if (at === 0 && !filler && Number(weights!.data[i + 1]) === 1) firsts.push(Number(tokens!.data[i]));
      if (at === 0) expect(Number(weights!.data[i])).toBe(0);
    }
  }
  expect(firsts.sort((a, b) => a - b)).toEqual(many.map((_, i) => i));
});

it("a step over packed micro-batches, however rows are split into them, is that of one batch", async () => {
  const model = fixture("llama");
  const context: MethodContext = { engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {} };
  const step = async (task: LearningTask, accumulate: number): Promise<readonly number[]> => {
    const options = { targetModules: ["q", "v"], r: 2, steps: 1, lr: 1, optimizer: "sgd", accumulate } as const;
    const { delta } = await runMethod(lora, { model, task }, { ...options, targetModules: ["q", "v"] }, context);
    return Object.values(delta.tensors).flatMap((t) => Array.from(t.data, Number));
  };
  const split = [packedBatch([[rows[2]!]]), packedBatch([[rows[3]!, rows[0]!], [rows[1]!]])];
  const [whole, parts] = [await step(unpacked, 1), await step({ ...inOneRow, batches: (n) => split[n]! }, 2)];
  expect(Math.max(...whole.map((v, i) => Math.abs(v - parts[i]!)))).toBeLessThan(1e-5);
});
