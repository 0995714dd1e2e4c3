import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Engine,
  f32,
  type HostTensor,
  i32,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  parseConfig,
  plainWeights,
  runMethod,
  sizeOf,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, gpt2, gptNeox, initWeights, mlp, modelFromConfig, phi3 } from "@lfm/models";
import { arrayRegression, languageModelTask, withBatches } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { worst } from "../../test/golden-case.js";
import { testContext } from "../../test/test-context.js";
import { fromPeft, toPeft } from "../peft.js";
import { ia3 } from "./ia3.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-ia3-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(["llama", "gpt2"])("five AdamW steps on the small %s", (kind) => {
  const golden = join(import.meta.dirname, "../../test/golden");
  const { tensors } = readSafetensors(join(golden, `${kind}-ia3/golden.safetensors`));
  const batches = readSafetensors(join(golden, `${kind}/golden.safetensors`)).tensors;
  const get = (name: string): HostTensor => loadWeight((tensors[name] ?? batches[name])!);
  const { losses } = JSON.parse(readFileSync(join(golden, `${kind}-ia3/golden.json`), "utf8")) as { losses: { ia3: number[] } };
  const { lr, weightDecay } = JSON.parse(readFileSync(join(golden, `${kind}/golden.json`), "utf8")) as { lr: number; weightDecay: number };
  const modelFolder = join(import.meta.dirname, "../../../models/test/golden", kind);
  const model: Model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const all = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(
      Object.keys(tensors).flatMap((name) =>
        name.startsWith(prefix) && name.endsWith("ia3_l") ? [[name.slice(prefix.length), get(name)]] : [],
      ),
    );

  it("follow PEFT: losses, vectors, the merged model's logits; its names and shapes; there and back as PEFT's files", async () => {
    // PEFT's own choice of layers for this architecture.
    const targets = kind === "gpt2" ? { targetModules: ["c_attn"], feedforwardModules: ["mlp.c_proj"] } : {};
    const options = { ...targets, steps: 5, lr, weightDecay, modelDropout: false };
    const task = languageModelTask("golden", (step) => ({
      tokens: get(`batch.${step}/in/tokens`),
      weights: get(`batch.${step}/in/weights`),
    }));
    const from = makeDelta(ia3, parseConfig(ia3, options), all("ia3/in/"));
    const { delta, curves } = await runMethod(ia3, { model, task, from }, options, context);
    curves.loss!.forEach(([, loss], i) => {
      expect(Math.abs(loss - losses.ia3[i]!)).toBeLessThan(1e-4);
    });
    const end = all("ia3/out/");
    expect(Object.keys(delta.tensors).sort()).toEqual(Object.keys(end).sort());
    for (const [name, t] of Object.entries(end)) expect(worst(delta.tensors[name]!, t), name).toBeLessThan(1e-4);
    await toPeft(join(folder, kind), delta, model);
    const back = fromPeft(join(folder, kind), model);
    expect(back.tensors).toEqual(delta.tensors);
    const expected = get("ia3/out/merged_logits");
    const tokens = get("batch.0/in/tokens");
    const [rows, length] = tokens.shape as readonly [number, number];
    const texts = Array.from({ length: rows }, (_, b) => Array.from((tokens.data as Int32Array).subarray(b * length, (b + 1) * length)));
    const plain = { ...model, params: { ...model.params, ...(await plainWeights(engine, model, [back])) } };
    const predictor = await createPredictor(engine, plain, "logits");
    const width = sizeOf(expected.shape.slice(1));
    (await predictor.predict(texts)).forEach((row, b) => {
      const own = f32((expected.data as Float32Array).subarray(b * width, (b + 1) * width), expected.shape.slice(1));
      expect(worst(row, own)).toBeLessThan(1e-3);
    });
    await predictor.dispose();
  });
});

const neoxSizes = { vocab_size: 11, hidden_size: 4, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16, rotary_pct: 1 };
const phiSizes = { ...neoxSizes, num_key_value_heads: 2, rotary_pct: undefined };

/** Of each: its fused layer, the places of queries in it, and the layer whose inputs are rescaled. */
describe.each([
  ["gpt2", gpt2({ vocab_size: 11, n_embd: 4, n_layer: 1, n_head: 2, n_positions: 8 }), "attn.c_attn", [0, 1, 2, 3], "mlp.c_proj"],
  ["phi3", phi3(phiSizes), "self_attn.qkv_proj", [0, 1, 2, 3], "mlp.down_proj"],
  ["gpt_neox, head by head,", gptNeox(neoxSizes), "attention.query_key_value", [0, 1, 6, 7], "mlp.dense_4h_to_h"],
] as const)("a fused layer of %s", (_name, fused, qkv, queries, out) => {
  const model: Model = { ...fused, params: initWeights(fused.info, { seed: 2 }) };
  const at = (path: string): string => `${model.info.sites.find((s) => s.path.endsWith(path))!.path}.ia3_l`;
  const task = languageModelTask("count", () => ({ tokens: i32([1, 2, 3, 4], [1, 4]), weights: f32([1, 1, 1, 1], [1, 4]) }));

  it("learns the parts that are named: queries stay at exactly 1, keys and values move", async () => {
    const { delta } = await runMethod(ia3, { model, task }, { steps: 3, lr: 0.1, weightDecay: 0.1 }, context);
    const l = Array.from(delta.tensors[at(qkv)]!.data, Number);
    expect(l.length).toBe(12);
    expect(l.flatMap((v, i) => (v === 1 ? [i] : []))).toEqual(queries);
    expect(delta.tensors[at(out)]!.shape).toEqual([1, 16]);
  });

  it("goes on from a delta of the same parts, and refuses one in which others have learned", async () => {
    const options = { steps: 3, lr: 0.1 };
    const first = await runMethod(ia3, { model, task }, options, context);
    const still = await runMethod(ia3, { model, task, from: first.delta }, { ...options, lr: 1e-30 }, context);
    expect(still.delta.tensors).toEqual(first.delta.tensors);
    const on = await runMethod(ia3, { model, task, from: first.delta }, options, context);
    expect(on.curves.loss![0]![1]).toBeLessThan(first.curves.loss!.at(-1)![1]);
    await expect(runMethod(ia3, { model, task, from: first.delta }, { ...options, targetModules: ["k"] }, context)).rejects.toMatchObject({
      code: "PARENT_MISMATCH",
    });
  });

  it("a fresh adapter changes nothing", async () => {
    const { delta } = await runMethod(ia3, { model, task }, { steps: 1, lr: 1e-30 }, context);
    for (const [name, t] of Object.entries(await plainWeights(engine, model, [delta])))
      expect(t.data, name).toEqual((model.params[name] as HostTensor).data);
  });
});

it("rescales the only output of a layer as an output, here and in PEFT's files", async () => {
  const net = mlp({ input_size: 3, hidden_sizes: [4], output_size: 1 });
  const model: Model = { ...net, params: initWeights(net.info, { seed: 1 }) };
  const x = f32([1, 2, 3, -1, 0, 2], [2, 3]);
  const task = withBatches(arrayRegression("values", "features", [3], 1), () => ({ x, y: f32([1, 2], [2, 1]) }));
  const options = { steps: 3, lr: 0.1, targetModules: ["fc2"], feedforwardModules: ["fc1"] };
  const { delta, curves } = await runMethod(ia3, { model, task }, options, context);
  expect(curves.loss!.at(-1)![1]).toBeLessThan(curves.loss![0]![1]);
  const [w, l] = [loadWeight(model.params["fc2.weight"]!).data[0], delta.tensors["fc2.ia3_l"]!];
  expect(l.shape).toEqual([1, 1]);
  const merged = await plainWeights(engine, model, [delta]);
  expect(Number(merged["fc2.weight"]!.data[0])).toBeCloseTo(Number(w) * Number(l.data[0]), 6);
  await toPeft(join(folder, "one"), delta, model);
  expect(fromPeft(join(folder, "one"), model).config).toMatchObject({ targetModules: ["fc2"], feedforwardModules: ["fc1"] });
});
