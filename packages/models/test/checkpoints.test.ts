import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  convertFloat,
  f32,
  type HostTensor,
  type LfmErrorCode,
  loadWeight,
  type Model,
  ortEngine,
  type Weights,
  widenToF32,
  zeros,
} from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { createPredictor, initWeights, loadModel, modelFromConfig, saveModel, withClassifier } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenFixture, maxDifference } from "./golden-fixture.js";

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "lfm-models-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const renamed = (weights: Weights, f: (name: string) => string): Weights =>
  Object.fromEntries(Object.entries(weights).map(([name, w]) => [f(name), w]));

async function logits(model: Model, wanted: "logits" | "pooler" = "logits"): Promise<HostTensor> {
  const predictor = await createPredictor(await ortEngine({ threads: 1 }), model, wanted);
  const [answer] = await predictor.predict([[3, 1, 4, 1, 5]]);
  await predictor.dispose();
  return answer!;
}

describe("names of checkpoints", () => {
  it("are found with and without the prefix of the base model", async () => {
    const { config, weights } = goldenFixture("gpt2");
    const bare = modelFromConfig(
      config,
      renamed(weights, (n) => n.replace(/^transformer\./, "")),
    );
    expect(maxDifference(await logits(bare), await logits(modelFromConfig(config, weights)))).toBe(0);
    const bert = goldenFixture("bert-encoder");
    const wrapped = modelFromConfig(
      bert.config,
      renamed(bert.weights, (n) => `bert.${n}`),
    );
    expect(Object.keys(wrapped.params).sort()).toEqual(Object.keys(bert.weights).sort());
  });

  it("gamma and beta of old layer norms are weight and bias", () => {
    const { config, weights } = goldenFixture("bert-classifier");
    const old = renamed(weights, (n) => n.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta"));
    expect(Object.keys(old).filter((n) => n.endsWith("gamma")).length).toBeGreaterThan(2);
    expect(modelFromConfig(config, old).params).toEqual(modelFromConfig(config, weights).params);
  });

  it("idle buffers and a tied head's second name are left out, pre-training heads of an encoder too", () => {
    const { config, weights } = goldenFixture("gpt2");
    const extra = { "transformer.h.0.attn.bias": zeros([1, 1, 64, 64]), "lm_head.weight": weights["transformer.wte.weight"]! };
    expect(modelFromConfig(config, { ...weights, ...extra }).params).toEqual(weights);
    const bert = goldenFixture("bert-encoder");
    const heads = { "cls.predictions.bias": zeros([97]), "embeddings.position_ids": zeros([1, 48]) };
    expect(modelFromConfig(bert.config, { ...bert.weights, ...heads }).params).toEqual(bert.weights);
  });

  it("an encoder stored without its pooler gives the first token's state", async () => {
    const { config, weights } = goldenFixture("bert-encoder");
    const bare = Object.fromEntries(Object.entries(weights).filter(([name]) => !name.startsWith("pooler.")));
    const model = modelFromConfig(config, bare);
    expect(Object.keys(model.info.params).some((n) => n.startsWith("pooler"))).toBe(false);
    expect((await logits(model, "pooler")).shape).toEqual([32]);
  });

  it.each<[string, (w: Record<string, Weights[string]>) => void, LfmErrorCode, RegExp, RegExp | undefined]>([
    ["a missing tensor", (w) => delete w["model.norm.weight"], "PARAM_NOT_FOUND", /"model\.norm\.weight"/, undefined],
    [
      "a misspelt tensor",
      (w) => rename(w, "model.norm.weight", "model.nrom.weight"),
      "PARAM_NOT_FOUND",
      /"model\.norm\.weight"/,
      /model\.nrom\.weight/,
    ],
    [
      "an unexpected tensor",
      (w) => (w["model.norm.weigth"] = zeros([32])),
      "PARAM_NOT_FOUND",
      /"model\.norm\.weigth"/,
      /model\.norm\.weight/,
    ],
    [
      "a tensor of another shape",
      (w) => (w["model.norm.weight"] = zeros([31])),
      "SHAPE_MISMATCH",
      /"model\.norm\.weight" is \[31\].*\[32\]/,
      undefined,
    ],
    [
      "a tensor called like what objects have",
      (w) => Object.assign(w, { toString: zeros([32]) }),
      "PARAM_NOT_FOUND",
      /"toString"/,
      undefined,
    ],
    [
      "a tensor called __proto__",
      (w) => Object.defineProperty(w, "__proto__", { value: zeros([32]), enumerable: true }),
      "PARAM_NOT_FOUND",
      /"__proto__"/,
      undefined,
    ],
    [
      "a tensor of whole numbers",
      (w) => (w["model.norm.weight"] = zeros([32], "i8")),
      "DTYPE_UNSUPPORTED",
      /"model\.norm\.weight" is i8/,
      /quantised/,
    ],
    ["a tensor under two names", (w) => (w["norm.weight"] = zeros([32])), "FILE_FORMAT", /"model\.norm\.weight"/, undefined],
  ])("%s is an error that names it", (_what, spoil, code, message, hint) => {
    const { config, weights } = goldenFixture("llama");
    const spoilt = { ...weights };
    spoil(spoilt);
    const error = caught(() => modelFromConfig(config, spoilt));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    if (hint) expect(error.hint).toMatch(hint);
  });

  it("unknown architectures and wrong configs are errors that say what is there", () => {
    expect(caught(() => modelFromConfig({ model_type: "lama" }))).toMatchObject({ code: "CONFIG_INVALID", hint: 'did you mean "llama"?' });
    expect(caught(() => modelFromConfig({ model_type: "toString" }))).toMatchObject({ code: "CONFIG_INVALID" });
    expect(caught(() => modelFromConfig({ model_type: "llama", vocab_size: -1 }))).toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("vocab_size"),
    });
    expect(caught(() => modelFromConfig({ model_type: "gemma3", text_config: { model_type: "gemma3_text" } }))).toMatchObject({
      code: "CONFIG_INVALID",
      hint: expect.stringContaining("gemma3_text"),
    });
    const scaled = { ...goldenFixture("llama").config, rope_parameters: { rope_type: "yarn" } };
    expect(caught(() => modelFromConfig(scaled))).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("yarn") });
  });
});

describe("folders", () => {
  const fixtures = [
    "gpt2",
    "llama",
    "llama-tied",
    "qwen2",
    "mixtral",
    "mistral",
    "qwen3",
    "phi3",
    "gpt-neox",
    "gemma2",
    "gemma3",
    "bert-classifier",
    "bert-encoder",
    "roberta-classifier",
    "roberta-encoder",
    "distilbert-classifier",
    "vit",
    "dinov2",
    "dinov2-swiglu",
    "convnet",
    "resnet-basic",
    "resnet-bottleneck",
    "mlp",
  ];
  it.each(fixtures)("%s saved and loaded is the same model under the same names", async (name) => {
    const { config, weights: stored } = goldenFixture(name);
    // What torch counts beside batch norms is read by nothing, and begins at 0 in a file.
    const weights = Object.fromEntries(Object.entries(stored).filter(([n]) => !n.endsWith("num_batches_tracked")));
    const folder = join(scratch, name);
    await saveModel(folder, modelFromConfig(config, weights));
    const { model } = await loadModel(folder);
    const { tensors: file } = readSafetensors(join(folder, "model.safetensors"));
    expect(Object.keys(file).sort()).toEqual(Object.keys(stored).sort());
    for (const [n, { dtype, shape }] of Object.entries(file))
      if (!(n in weights)) expect([dtype, shape]).toEqual([stored[n]!.dtype, stored[n]!.shape]);
    for (const [n, w] of Object.entries(weights)) expect(loadWeight(model.params[n]!).data, n).toEqual(loadWeight(w).data);
    const saved = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
    if (config.architectures) expect(saved.architectures).toEqual(config.architectures);
    expect(saved.model_type).toBe(config.model_type);
  });

  it("configs may hold what Python's json writes and JSON does not have, and keep it", async () => {
    const { folder, config, weights } = goldenFixture("llama");
    const text = readFileSync(join(folder, "config.json"), "utf8");
    const from = mkdtempSync(join(scratch, "infinite-"));
    await saveModel(from, modelFromConfig(config, weights));
    writeFileSync(
      join(from, "config.json"),
      `\ufeff${text.replace("{", '{"limits": [0.0, Infinity], "lowest": -Infinity, "unset": NaN,')}`,
    );
    const { model } = await loadModel(from);
    const to = join(scratch, "infinite-again");
    await saveModel(to, model);
    const saved = readFileSync(join(to, "config.json"), "utf8").replaceAll(/\s/g, "");
    expect(saved).toContain('"limits":[0,Infinity],"lowest":-Infinity,"unset":NaN');
    expect((await loadModel(to)).config).toMatchObject({ limits: [0, Number.POSITIVE_INFINITY], unset: Number.NaN });
  });

  it.each(["f64", "f8e4m3", "f8e5m2"] as const)("weights of %s in a file compute in f32", async (dtype) => {
    const { config, weights } = goldenFixture("llama");
    const stored = Object.fromEntries(Object.entries(weights).map(([n, w]) => [n, convertFloat(loadWeight(w), dtype)]));
    const folder = join(scratch, dtype);
    await saveModel(folder, modelFromConfig(config, stored));
    const { model } = await loadModel(folder);
    expect(model.params["model.norm.weight"]!.dtype).toBe(dtype);
    const widened = Object.fromEntries(Object.entries(stored).map(([n, w]) => [n, widenToF32(w)]));
    expect(maxDifference(await logits(model), await logits(modelFromConfig(config, widened)))).toBeLessThan(1e-5);
  });

  it.each(["bf16", "f16"] as const)("weights in %s compute in f32", async (dtype) => {
    const { config, weights } = goldenFixture("llama");
    const full = modelFromConfig(config, weights);
    await saveModel(join(scratch, dtype), full, { dtype });
    const { model } = await loadModel(join(scratch, dtype));
    expect(model.info.params["model.norm.weight"]!.dtype).toBe(dtype);
    const widened = Object.fromEntries(Object.entries(model.params).map(([n, w]) => [n, widenToF32(loadWeight(w))]));
    expect(maxDifference(await logits(model), await logits({ ...full, params: widened }))).toBeLessThan(1e-5);
    const error = maxDifference(await logits(model), await logits(full));
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(dtype === "bf16" ? 0.3 : 0.03);
  });

  it("a head put onto an encoder is saved as a classification checkpoint", async () => {
    const { config, weights } = goldenFixture("bert-encoder");
    const model = withClassifier(modelFromConfig(config, weights), 3, 7);
    const folder = join(scratch, "headed");
    await saveModel(folder, model);
    const loaded = await loadModel(folder);
    expect(loaded.model.info).toMatchObject({ task: "classifier", classes: 3 });
    expect(loaded.config).toMatchObject({ architectures: ["BertForSequenceClassification"], id2label: { 2: "LABEL_2" } });
    expect(maxDifference(await logits(loaded.model), await logits(model))).toBe(0);
    expect(caught(() => withClassifier(loaded.model, 3, 7))).toMatchObject({ code: "CAPABILITY_MISSING" });
  });

  it.each([
    ["roberta-classifier", "RobertaForSequenceClassification", "classifier.out_proj.weight"],
    ["distilbert-classifier", "DistilBertForSequenceClassification", "pre_classifier.weight"],
  ])("a head put onto the encoder of %s is that of transformers' class", async (name, architecture, parameter) => {
    const { config } = goldenFixture(name);
    const plain = { ...config, architectures: null };
    const encoder = modelFromConfig(plain, initWeights(modelFromConfig(plain).info, { seed: 5 }));
    expect(encoder.info.task).toBe("encoder");
    const model = withClassifier(encoder, 3, 7);
    const folder = join(scratch, `headed-${name}`);
    await saveModel(folder, model);
    const stored = Object.keys(readSafetensors(join(folder, "model.safetensors")).tensors);
    expect(stored).toContain(parameter);
    expect(stored.sort(), "no pooler, which the class does not have").toEqual(Object.keys(goldenFixture(name).weights).sort());
    const loaded = await loadModel(folder);
    expect(loaded.config).toMatchObject({ architectures: [architecture] });
    expect(maxDifference(await logits(loaded.model), await logits(model))).toBe(0);
    const flat = withClassifier(encoder, 3, 7, { pooling: "mean" });
    expect(Object.keys(flat.info.params)).toContain("classifier.weight");
  });

  it("the hash is that of the weights, whatever their names in the file", async () => {
    const { folder, config, weights } = goldenFixture("gpt2");
    const first = await (await loadModel(folder)).hash();
    const bare = join(scratch, "bare");
    await saveModel(bare, modelFromConfig(config, weights));
    await writeSafetensors(
      join(bare, "model.safetensors"),
      renamed(weights, (n) => n.replace(/^transformer\./, "")),
    );
    expect(await (await loadModel(bare)).hash()).toBe(first);
    const changed = { ...weights, "transformer.ln_f.bias": f32(new Float32Array(32)) };
    await writeSafetensors(join(bare, "model.safetensors"), changed);
    expect(await (await loadModel(bare)).hash()).not.toBe(first);
  });

  it("folders without config, with a broken one, or without weights are errors that name the file", async () => {
    await expect(loadModel(join(scratch, "nowhere"))).rejects.toMatchObject({
      code: "FILE_IO",
      message: expect.stringContaining("config.json"),
    });
    const folder = mkdtempSync(join(scratch, "broken-"));
    writeFileSync(join(folder, "config.json"), "{");
    await expect(loadModel(folder)).rejects.toMatchObject({ code: "FILE_FORMAT" });
    writeFileSync(join(folder, "config.json"), '{"model_type":"mlp"}');
    await expect(loadModel(folder)).rejects.toMatchObject({ name: "LfmError" });
    await expect(saveModel(folder, modelFromConfig(goldenFixture("mlp").config))).rejects.toMatchObject({ code: "PARAM_NOT_FOUND" });
  });
});

function rename(weights: Record<string, Weights[string]>, from: string, to: string): void {
  weights[to] = weights[from]!;
  delete weights[from];
}

function caught(f: () => unknown): Error & { readonly hint?: string } {
  try {
    f();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}
