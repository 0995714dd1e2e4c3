import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compileModel,
  deltaSize,
  type Engine,
  f32,
  type HostTensor,
  i32,
  type MethodContext,
  makeDelta,
  parseConfig,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { readPeftAdapter } from "@lfm/formats";
import { createGenerator, createPredictor, gpt2, initWeights, llama, t5 } from "@lfm/models";
import { languageModelTask, tokenClassificationTask, tokenInput, tokenSpec } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectLogits, goldenModel, goldenRun, goldenSteps, goldenTask, rowsOf, worst } from "../../test/golden-case.js";
import { testContext } from "../../test/test-context.js";
import { fromPeft, toPeft } from "../peft.js";
import { prefix } from "./prefix.js";
import { prompt } from "./prompt.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-prefix-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Without an MLP, PEFT's table of rows is what learns here. */
function atStart(tensors: Readonly<Record<string, HostTensor>>): Readonly<Record<string, HostTensor>> {
  const { "embedding.weight": rows, ...rest } = tensors;
  return "transform.0.weight" in tensors ? tensors : { prompt_embeddings: rows!, ...rest };
}

describe.each(["llama", "gpt2"])("five AdamW steps of the small %s as PEFT takes them", (kind) => {
  const [golden, batches] = [goldenSteps(`${kind}-inputs`), goldenSteps(kind)];
  const model = goldenModel(kind);

  it.each([
    ["prefix", {}],
    ["projected", { projection: true, encoderHiddenSize: 5 }],
  ])("%s: losses, keys and values, logits and what is generated with its cache; there and back as PEFT's files", async (name, options) => {
    const given = { model, task: goldenTask(batches) };
    const { delta, model: tuned } = await goldenRun(
      prefix,
      given,
      atStart(golden.all(`${name}/in/`)),
      { ...options, numVirtualTokens: 3 },
      golden.losses[name]!,
      context,
    );
    expect(Object.keys(delta.tensors)).toEqual(["prompt_embeddings"]);
    expect(worst(delta.tensors.prompt_embeddings!, golden.get(`${name}/out/prompt_embeddings`))).toBeLessThan(1e-4);
    const texts = rowsOf(batches.get("batch.0/in/tokens"));
    await expectLogits(engine, tuned, texts, golden.get(`${name}/out/logits`), 1e-3);
    const generator = await createGenerator(engine, tuned);
    const { tokens } = await generator.generate(texts[0]!, { maxNewTokens: 6 });
    await generator.dispose();
    expect(tokens).toEqual(Array.from(golden.get(`${name}/out/text`).data, Number));
    await toPeft(join(folder, kind), delta, model);
    expect(fromPeft(join(folder, kind), model).tensors).toEqual(delta.tensors);
  });
});

it("a prefix with the head of a BERT classifier, padded rows, as PEFT's layout in transformers' cache: P-tuning v2", async () => {
  const golden = goldenSteps("bert-inputs");
  const model = goldenModel("bert-classifier");
  const task = tokenClassificationTask("golden", (step) => ({
    tokens: golden.get(`prefix/in/tokens.${step}`),
    mask: f32(Float32Array.from(golden.get("prefix/in/mask").data, Number), [3, 7]),
    labels: i32([0, 1, 2]),
  }));
  const start = Object.fromEntries(Object.entries(atStart(golden.all("prefix/in/"))).filter(([name]) => !/^(tokens|mask)/.test(name)));
  const given = { model, task, alsoTrain: ["classifier.weight", "classifier.bias"] };
  const { delta, model: tuned } = await goldenRun(prefix, given, start, { numVirtualTokens: 3 }, golden.losses.prefix!, context);
  for (const [name, t] of Object.entries(delta.tensors)) expect(worst(t, golden.get(`prefix/out/${name}`)), name).toBeLessThan(1e-4);
  const f = await compileModel(engine, tuned, tokenSpec({}), (batch, params, at) => ({
    logits: at.forward(params, tokenInput({})(batch), { mode: "eval" }).logits!,
  }));
  const { tokens, mask } = task.batches(0);
  expect(worst((await f({ tokens: tokens!, mask: mask! })).logits, golden.get("prefix/out/logits"))).toBeLessThan(1e-3);
  await f.dispose();
  await toPeft(join(folder, "bert"), delta, model);
  expect(readPeftAdapter(join(folder, "bert")).config).toMatchObject({
    peft_type: "PREFIX_TUNING",
    task_type: "SEQ_CLS",
    modules_to_save: ["classifier"],
  });
  expect(fromPeft(join(folder, "bert"), model).tensors).toEqual(delta.tensors);
});

const sizes = { vocab_size: 11, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 };
const small = llama({ ...sizes, num_key_value_heads: 1 });
const base = { ...small, params: initWeights(small.info, { seed: 3, embeddingStd: 0.5 }) };
const task = languageModelTask("count", () => ({ tokens: i32([1, 2, 3, 4], [1, 4]), weights: f32([1, 1, 1, 1], [1, 4]) }));

it("learns as many values as the papers and PEFT count", () => {
  const count = (model: typeof small, options: object): number => {
    const { learned } = prefix.start({ model, task }, parseConfig(prefix, options), context);
    return Object.values(learned).reduce((n, t) => n + t.data.length, 0);
  };
  const gpt2Small = gpt2({ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 });
  expect(count(gpt2Small, {})).toBe(368_640);
  // As the library adapters counts it on BERT-base: 30 tokens through an MLP of 512.
  expect(count(gpt2Small, { numVirtualTokens: 30, projection: true, encoderHiddenSize: 512 })).toBe(9_872_384);
  // Grouped queries: keys and values of one head of 4.
  expect(count(base, { numVirtualTokens: 5 })).toBe(5 * 2 * 2 * 4);
});

it("the keys and values of real tokens are those tokens: every later position answers as behind them", async () => {
  const f = await compileModel(engine, base, { tokens: { dtype: "i32", shape: [1, 2] } }, ({ tokens }, params, at) => ({
    cache: at.forward(params, { tokens }, { mode: "eval", want: { cache: true } }).cache!.map(({ key, value }) => ({ key, value })),
  }));
  const { cache } = await f({ tokens: i32([5, 7], [1, 2]) });
  await f.dispose();
  // One head of keys: row t is the key of layer 0 at t, its value, key and value of layer 1.
  const parts = cache.flatMap(({ key, value }) => [key, value]);
  const rows = [0, 1].flatMap((t) => parts.flatMap((part) => Array.from(part.data.slice(4 * t, 4 * t + 4), Number)));
  const delta = makeDelta(prefix, parseConfig(prefix, { numVirtualTokens: 2 }), { prompt_embeddings: f32(rows, [2, 16]) });
  expect(deltaSize(delta)).toBe(32);
  const [behind, plain] = [
    await createPredictor(engine, withDeltas(base, [delta]), "logits"),
    await createPredictor(engine, base, "logits"),
  ];
  const [[seen], [whole]] = [await behind.predict([[1, 2, 3]]), await plain.predict([[5, 7, 1, 2, 3]])];
  await behind.dispose();
  await plain.dispose();
  expect(worst(seen!, f32((whole!.data as Float32Array).slice(22), [3, 11]))).toBeLessThan(1e-5);
});

it("begins with zeros where it is asked to, through an MLP too", async () => {
  for (const projection of [false, true]) {
    const { delta } = await runMethod(
      prefix,
      { model: base, task },
      { steps: 1, lr: 1e-30, init: "zero", projection, numVirtualTokens: 2 },
      context,
    );
    expect(Math.max(...Array.from(delta.tensors.prompt_embeddings!.data, Number).map(Math.abs))).toBeLessThan(1e-20);
  }
});

it("stacks with a prompt, and generation with its cache answers as a pass over everything", async () => {
  const first = await runMethod(prefix, { model: base, task }, { steps: 2, lr: 0.1, numVirtualTokens: 2 }, context);
  const second = await runMethod(prompt, { model: first.model, task }, { steps: 2, lr: 0.1, numVirtualTokens: 3 }, context);
  const generator = await createGenerator(engine, second.model);
  const { tokens } = await generator.generate([1, 2], { maxNewTokens: 5 });
  await generator.dispose();
  const predictor = await createPredictor(engine, second.model, "next");
  const row = [1, 2];
  for (const token of tokens) {
    const [next] = await predictor.predict([row]);
    const logits = Array.from(next!.data, Number);
    expect(logits.indexOf(Math.max(...logits))).toBe(token);
    row.push(token);
  }
  await predictor.dispose();
});

it("leaves generation as many positions as the model has behind the prefix", async () => {
  const config = { vocab_size: 11, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 8 };
  const net = gpt2(config, initWeights(gpt2(config).info, { seed: 1 }));
  const { model } = await runMethod(prefix, { model: net, task }, { steps: 1, numVirtualTokens: 3 }, context);
  const generator = await createGenerator(engine, model);
  const { tokens } = await generator.generate([1, 2], { maxNewTokens: 20 });
  // Three positions are the prefix's, two the prompt's; the token after the last needs none.
  expect(tokens.length).toBe(4);
  await expect(generator.generate([1, 2, 3, 4, 5, 6], { maxNewTokens: 1 })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  await generator.dispose();
  await expect(runMethod(prefix, { model: net, task }, { steps: 1, numVirtualTokens: 8 }, context)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
});

it("refuses a model of encoder and decoder by name", async () => {
  const both = t5({ vocab_size: 11, d_model: 8, d_kv: 4, d_ff: 8, num_layers: 1, num_heads: 2 });
  await expect(runMethod(prefix, { model: both, task }, { steps: 1 }, context)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
});
