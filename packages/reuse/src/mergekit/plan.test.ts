import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isLfmError, LfmError } from "@lfm/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeModelFolders } from "../../test/mergekit-folders.js";
import { mergeMethods } from "../methods/index.js";
import { checkMerge } from "./check.js";
import { explainMerge } from "./explain.js";
import { parseMergeConfig } from "./parse.js";
import { type DocumentPlan, type PlanMergeOptions, planMerge } from "./plan.js";

let folder = "";
beforeAll(async () => {
  folder = await writeModelFolders();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function plan(text: string, options: Partial<PlanMergeOptions> = {}): Promise<DocumentPlan> {
  return planMerge(parseMergeConfig(text, { file: "merge.yml" })[0]!, { folder, methods: mergeMethods, ...options });
}

async function failure(text: string): Promise<LfmError> {
  const error: unknown = await plan(text).catch((e: unknown) => e);
  if (error instanceof LfmError) return error;
  throw error instanceof Error ? error : new Error("it was accepted");
}

const weighted = (...models: string[]): string => models.map((m) => `  - { model: ${m}, parameters: { weight: 1 } }`).join("\n");
const linear = (...models: string[]): string => `merge_method: linear\nmodels:\n${weighted(...models)}\n`;
const tensor = (of: DocumentPlan, name: string): DocumentPlan["tensors"][number] => of.tensors.find((t) => t.name === name)!;

describe("what is wrong is said with tensor, model and a way out", () => {
  it.each([
    [
      "a method of no name here",
      "merge_method: tise\nmodels: [{ model: a }]",
      "CONFIG_INVALID",
      'merge.yml:1: there is no merge method "tise"',
      "merge_method: ties",
    ],
    [
      "a parameter of no method",
      "merge_method: ties\nbase_model: base\nmodels:\n  - model: a\n    parameters: { wieght: 1 }",
      "CONFIG_INVALID",
      'merge.yml:5: ties has no parameter "wieght"',
      '"weight"',
    ],
    [
      "no base",
      `merge_method: ties\nmodels:\n${weighted("a")}`,
      "CONFIG_INVALID",
      "merge.yml:2: ties works on the difference to a base",
      "base_model",
    ],
    [
      "a base that is not among the sources",
      "merge_method: slerp\nbase_model: c\nslices:\n  - sources: [{ model: a, layer_range: [0, 4] }, { model: b, layer_range: [0, 4] }]\nparameters: { t: 0.5 }",
      "CONFIG_INVALID",
      'merge.yml:4: base model "c" is not among the sources',
      "- model: c",
    ],
    [
      "too many models",
      "merge_method: slerp\nbase_model: a\nmodels: [{ model: a }, { model: b }, { model: c }]\nparameters: { t: 0.5 }",
      "CONFIG_INVALID",
      "slerp merges 1 model beside the base, got 2",
      undefined,
    ],
    [
      "a base where one model is all",
      "merge_method: passthrough\nbase_model: base\nmodels: [{ model: a }]",
      "CONFIG_INVALID",
      "passthrough merges 1 model, got 2",
      'base_model "base" counts as one',
    ],
    [
      "too few models",
      "merge_method: model_stock\nbase_model: base\nmodels: [{ model: a }]",
      "CONFIG_INVALID",
      "merges at least 2 models",
      undefined,
    ],
    [
      "no weight",
      "merge_method: linear\nmodels: [{ model: a, parameters: { weight: 1 } }, { model: b }]",
      "CONFIG_INVALID",
      '"model.embed_tokens.weight" of "b" has no weight',
      "parameters: {weight: 1.0}",
    ],
    [
      "no weight for the base that is added",
      `base_model: base\n${linear("a")}`,
      "CONFIG_INVALID",
      'of "base" has no weight',
      "parameters: {weight: 1.0}",
    ],
    [
      "no t",
      "merge_method: slerp\nbase_model: a\nmodels: [{ model: a }, { model: b }]",
      "CONFIG_INVALID",
      '"model.embed_tokens.weight" has no t',
      "parameters: {t: 0.5}",
    ],
    [
      "a t for some tensors only",
      "merge_method: slerp\nbase_model: a\nmodels: [{ model: a }, { model: b }]\nparameters: { t: [{ filter: layers, value: 1 }] }",
      "CONFIG_INVALID",
      '"model.embed_tokens.weight" has no t',
      undefined,
    ],
    [
      "text for a number",
      "merge_method: linear\nmodels: [{ model: a, parameters: { weight: much } }]",
      "CONFIG_INVALID",
      'weight: "much" for "model.embed_tokens.weight" of "a"',
      undefined,
    ],
    [
      "layers that are not there",
      "merge_method: passthrough\nslices: [{ sources: [{ model: a, layer_range: [0, 9] }] }]",
      "CONFIG_INVALID",
      'layers [0, 9] are asked of "a", which has 4',
      "layer_range: [0, 4]",
    ],
    [
      "slices of unlike length",
      "merge_method: linear\nparameters: { weight: 1 }\nslices: [{ sources: [{ model: a, layer_range: [0, 2] }, { model: b, layer_range: [0, 3] }] }]",
      "CONFIG_INVALID",
      '2 layers of "a" meet 3 of "b"',
      "the same number",
    ],
    ["models of unlike depth", linear("a", "short"), "CONFIG_INVALID", '4 layers of "a" meet 2 of "short"', undefined],
    ["a model twice", linear("a", "a"), "CONFIG_INVALID", 'model "a" is listed twice', undefined],
    [
      "vocabularies of unlike size",
      linear("a", "chat"),
      "SHAPE_MISMATCH",
      '"model.embed_tokens.weight" is [16, 8] in "a" and [19, 8] in "chat" (and 1 more)',
      "tokenizer: {source: base}",
    ],
    [
      "a tensor of another shape",
      linear("a", "wide"),
      "SHAPE_MISMATCH",
      '"model.layers.1.mlp.up_proj.weight" is [12, 8] in "a" and [10, 8] in "wide"',
      undefined,
    ],
    [
      "a tensor that is missing",
      linear("a", "holey"),
      "PARAM_NOT_FOUND",
      '"holey" has no tensor "model.layers.2.mlp.up_proj.weight", which "a" has',
      'leave "holey" or "a" out',
    ],
    ["another architecture", linear("a", "gpt2"), "CONFIG_INVALID", '4 layers of "a" meet 3 of "gpt2"', undefined],
    ["a type of no name", `${linear("a")}dtype: bf16`, "CONFIG_INVALID", 'merge.yml:4: there is no dtype "bf16"', '"bfloat16"'],
    ["a type nearly right", `${linear("a")}out_dtype: flaot16`, "CONFIG_INVALID", "out_dtype", '"float16"'],
    [
      "a folder that is not there",
      linear("nowhere/model"),
      "FILE_IO",
      'model "nowhere/model": there is no folder',
      "hf download nowhere/model",
    ],
    [
      "a chat template nearly right",
      `${linear("a")}chat_template: chatlm`,
      "CONFIG_INVALID",
      'merge.yml:4: "chatlm" is no chat template',
      '"chatml"',
    ],
    ["an adapter that is none", linear("a+b"), "FILE_IO", "no adapter_config.json", "PEFT adapter"],
    ["an adapter with DoRA", linear("a+dora"), "OP_UNSUPPORTED", "DoRA of", "merge_and_unload"],
    [
      "an adapter of other modules",
      linear("a+lora-lost"),
      "PARAM_NOT_FOUND",
      '"model.layers.0.self_attn.query.weight", which the model does not have',
      undefined,
    ],
    ["an adapter of another size", linear("a+lora-wide"), "SHAPE_MISMATCH", "is 8×10", undefined],
    [
      "a token without a source",
      `${linear("a", "chat")}tokenizer: { source: union, tokens: { hello: {} } }`,
      "CONFIG_INVALID",
      'token "hello" needs a source',
      'tokens: {"hello": {source: a}}',
    ],
    [
      "a token of a model that does not have it",
      `${linear("a", "chat")}tokenizer: { source: union, tokens: { hello: { source: a } } }`,
      "CONFIG_INVALID",
      'token "hello" is not in the vocabulary of "a"',
      undefined,
    ],
    [
      "a token of a model that takes no part",
      `${linear("a", "chat")}tokenizer: { source: union, tokens: { hello: { source: code } } }`,
      "CONFIG_INVALID",
      'comes from "code", which gives nothing',
      "a, chat",
    ],
    [
      "a module that is not there, in a model of one",
      "merge_method: passthrough\nmodules: { default: { models: [{ model: a }] }, other: { models: [{ model: a }] } }",
      "CONFIG_INVALID",
      "twice",
      undefined,
    ],
  ])("%s", async (_, text, code, message, hint) => {
    const error = await failure(text);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
    if (hint !== undefined) expect(error.hint).toContain(hint);
  });

  it("lists all that is wrong with tensors", async () => {
    const { details } = await failure(linear("a", "chat"));
    expect(details.problems).toMatchObject([{ code: "SHAPE_MISMATCH" }, { code: "SHAPE_MISMATCH" }]);
  });
});

describe("planMerge", () => {
  it("keeps what has no effect as a note", async () => {
    const { notes } = await plan(
      "merge_method: linear\nmode: paper\nmodels:\n  - { model: a, parameters: { weight: 1, normalize: false, density: 0.5 } }\nparameters: { int8_mask: true, t: 1 }",
    );
    expect(notes).toEqual([
      expect.stringContaining("merge.yml:5: int8_mask has no effect"),
      expect.stringContaining("merge.yml:5: t has no effect: linear does not use it"),
      expect.stringContaining("merge.yml:4: normalize has no effect under a model"),
      expect.stringContaining("merge.yml:4: density has no effect"),
      expect.stringContaining("mode: paper changes nothing"),
    ]);
  });

  it("passes the paper's mode on to methods that have one; the option wins over the file", async () => {
    const text = `merge_method: ties\nmode: paper\nbase_model: base\nmodels:\n${weighted("a")}`;
    expect((await plan(text)).tensors[0]!.parameters).toMatchObject({ mode: "paper" });
    expect((await plan(text, { mode: "mergekit" })).tensors[0]!.parameters).toMatchObject({ mode: "mergekit" });
    expect((await plan(text.replace("mode: paper\n", ""))).tensors[0]!.parameters).toMatchObject({ mode: "mergekit" });
  });

  it("takes presets' values where the configuration gives none", async () => {
    const text = (more: string): string => `merge_method: dare_ties\nbase_model: base\nmodels:\n${weighted("a")}\n${more}`;
    expect((await plan(text(""))).tensors[0]).toMatchObject({ method: "dare", parameters: { consensus: "sum", rescale: true } });
    expect((await plan(text("parameters: { consensus: none }"))).tensors[0]!.parameters).toMatchObject({ consensus: "none" });
  });

  it("types: inputs are rounded to dtype, the result has out_dtype, else dtype, else what holds all inputs", async () => {
    const types = async (more: string, options = {}): Promise<unknown[]> => {
      const { dtype, workingDtype } = (await plan(`${linear("half", "a")}${more}`, options)).tensors[0]!;
      return [dtype, workingDtype];
    };
    expect(await types("")).toEqual(["f32", undefined]);
    expect(await types("dtype: float16")).toEqual(["f16", "f16"]);
    expect(await types("out_dtype: bfloat16")).toEqual(["bf16", undefined]);
    expect(await types("dtype: torch.float32\nout_dtype: float16", { outDtype: "bfloat16" })).toEqual(["bf16", "f32"]);
    const config = JSON.parse((await plan(linear("half"), { outDtype: "float16" })).texts["config.json"]!) as Record<string, unknown>;
    expect(config.torch_dtype).toBe("float16");
  });

  it("gives the base alone where a slice has nothing else", async () => {
    const text = "merge_method: task_arithmetic\nbase_model: base\nslices:\n  - sources: [{ model: base, layer_range: [1, 2] }]";
    expect(tensor(await plan(text), "model.layers.0.mlp.up_proj.weight")).toMatchObject({
      method: "passthrough",
      models: [{ model: "base", source: { name: "model.layers.1.mlp.up_proj.weight" } }],
    });
  });

  it("copies buffers and integers, which must be equal", async () => {
    const text = linear("ints", "ints-too");
    for (const name of ["ints", "ints-too"]) writeIntegers(join(folder, name), [0, 1, 2]);
    expect(tensor(await plan(text), "embeddings.position_ids")).toMatchObject({
      method: "passthrough",
      dtype: "i64",
      models: [{ model: "ints" }],
    });
    writeIntegers(join(folder, "ints-too"), [0, 1, 3]);
    const error = await failure(text);
    expect([error.code, error.message]).toEqual([
      "DTYPE_UNSUPPORTED",
      expect.stringContaining('"embeddings.position_ids" holds i64 values that differ between "ints" and "ints-too"'),
    ]);
  });

  it("reads shards and finds folders where it is told to", async () => {
    const asked: unknown[] = [];
    const resolve = (name: string, revision: string | undefined): string | undefined => {
      asked.push([name, revision]);
      return name === "org/model" ? join(folder, "a") : undefined;
    };
    const found = await plan(linear("org/model@v2", "b"), { resolve });
    expect(asked).toEqual([
      ["org/model", "v2"],
      ["b", undefined],
    ]);
    expect(found.tensors[0]!.models.map((m) => m.model)).toEqual(["org/model@v2", "b"]);
  });

  it("carries the seed, the files of the tokenizer and the configuration itself", async () => {
    const text = linear("chat", "chat@other");
    writeFileSync(join(folder, "chat", "generation_config.json"), "{}");
    const { seed, copies, texts } = await plan(text, { seed: 7 });
    expect(seed).toBe(7);
    expect(copies).toEqual(
      Object.fromEntries(["generation_config.json", "tokenizer.json", "tokenizer_config.json"].map((f) => [f, join(folder, "chat", f)])),
    );
    expect(Object.keys(texts)).toEqual(["config.json", "mergekit_config.yml"]);
    expect(texts["mergekit_config.yml"]).toBe(text);
  });

  it("writes a chat template beside the tokenizer and takes it out of its config", async () => {
    const { texts, copies } = await plan(`${linear("chat")}chat_template: "{{ bos_token }}{{ messages[0].content }}"`);
    expect(texts["chat_template.jinja"]).toBe("{{ bos_token }}{{ messages[0].content }}");
    expect(JSON.parse(texts["tokenizer_config.json"]!)).toEqual({ tokenizer_class: "PreTrainedTokenizerFast", eos_token: "</s>" });
    expect(Object.keys(copies)).not.toContain("tokenizer_config.json");
    for (const name of ["alpaca", "chatml", "exaone", "llama3", "mistral"])
      expect((await plan(`${linear("chat")}chat_template: ${name}`)).texts["chat_template.jinja"]).toContain("messages");
    expect((await plan(`${linear("a")}chat_template: auto`)).notes).toEqual([expect.stringContaining("no template in any model")]);
  });

  it("lists of config.json with an entry per layer follow the layers", async () => {
    const from = join(folder, "listed");
    cpSync(join(folder, "a"), from, { recursive: true });
    const config = JSON.parse(readFileSync(join(from, "config.json"), "utf8")) as Record<string, unknown>;
    writeFileSync(join(from, "config.json"), JSON.stringify({ ...config, layer_types: ["s", "f", "s", "g"] }));
    const text =
      "merge_method: passthrough\nslices:\n  - sources: [{ model: listed, layer_range: [0, 2] }]\n  - sources: [{ model: listed, layer_range: [1, 4] }]";
    expect(JSON.parse((await plan(text)).texts["config.json"]!)).toMatchObject({
      num_hidden_layers: 5,
      layer_types: ["s", "f", "f", "s", "g"],
    });
  });
});

function writeIntegers(folder: string, values: readonly number[]): void {
  const header = JSON.stringify({
    "embeddings.position_ids": { dtype: "I64", shape: [values.length], data_offsets: [0, 8 * values.length] },
    "embeddings.word_embeddings.weight": { dtype: "F32", shape: [1, 1], data_offsets: [8 * values.length, 8 * values.length + 4] },
  });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const data = Buffer.from(BigInt64Array.from(values, BigInt).buffer);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([length, Buffer.from(header), data, Buffer.alloc(4)]));
  writeFileSync(join(folder, "config.json"), '{"model_type": "bert"}');
}

describe("explainMerge and checkMerge", () => {
  it("explain every tensor with its parameters", async () => {
    const rows = explainMerge(
      await plan(`merge_method: ties\nbase_model: base\nmodels:\n  - { model: tied+lora, parameters: { weight: [0, 1], density: 0.5 } }`),
    );
    expect(rows.length).toBe(39);
    expect(rows.find((r) => r.tensor === "model.layers.3.self_attn.q_proj.weight")).toEqual({
      tensor: "model.layers.3.self_attn.q_proj.weight",
      shape: [8, 8],
      dtype: "f32",
      method: "ties",
      parameters: expect.objectContaining({ lambda: 1, normalize: true, mode: "mergekit" }),
      models: [{ model: "tied+lora", as: ["lora"], parameters: { weight: 1, density: 0.5 } }],
      base: { model: "base", parameters: {} },
    });
    expect(rows.find((r) => r.tensor === "lm_head.weight")).toMatchObject({
      models: [{ from: "model.embed_tokens.weight", parameters: { weight: 0 } }],
    });
  });

  it("check reports models, output and bytes from headers", async () => {
    const text = `${linear("half", "tied+lora")}dtype: float32\nout_dtype: bfloat16`;
    const check = await checkMerge(parseMergeConfig(text)[0]!, { folder, methods: mergeMethods });
    expect(check).toEqual(await checkMerge(await plan(text)));
    const parameters = 2 * 16 * 8 + 8 + 4 * (2 * 8 + 2 * 64 + 2 * 32 + 3 * 96);
    expect(check.output).toEqual({ tensors: 39, parameters, bytes: 2 * parameters, dtypes: { bf16: 39 }, methods: { average: 39 } });
    expect(check.bytesWritten).toBe(2 * parameters);
    const adapter = 4 * (4 * (2 * 16 + 2 * 20) + 20);
    expect(check.bytesRead).toBe(2 * parameters + 4 * (parameters - 16 * 8) + adapter);
    expect(check.models).toMatchObject([
      { model: "half", architecture: "LlamaForCausalLM", layers: { default: 4 }, rows: 16, tokens: 16, tied: false, dtypes: { bf16: 39 } },
      { model: "tied+lora", tied: true, dtypes: { f32: 38 }, adapter: join(folder, "lora") },
    ]);
    expect(check.notes).toEqual([expect.stringContaining('"tied+lora" had no output layer')]);
  });

  it("check lists everything that is wrong", async () => {
    const check = await checkMerge(parseMergeConfig(linear("a", "chat"))[0]!, { folder, methods: mergeMethods });
    expect(check).toMatchObject({ ok: false, problems: [{ code: "SHAPE_MISMATCH" }, { code: "SHAPE_MISMATCH" }] });
  });
});

describe("whatever a configuration asks for", () => {
  it("gives a plan or a typed error", async () => {
    const others = fc.constantFrom(
      "base",
      "a",
      "b",
      "half",
      "tied",
      "chat",
      "code",
      "padded",
      "short",
      "gpt2",
      "gpt2-bare",
      "bert",
      "bpe",
      "a+lora",
      "gpt2+lora-gpt2",
      "none",
    );
    const model = fc.oneof({ weight: 5, arbitrary: fc.constantFrom("base", "a", "b", "c") }, { weight: 1, arbitrary: others });
    const scalar = fc.oneof(fc.double({ min: -1, max: 2, noNaN: true }), fc.boolean(), fc.constantFrom("0.5", "yes", "sum"));
    const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }));
    const setting = fc.oneof(
      value,
      fc.array(fc.record({ filter: fc.constantFrom("mlp", "*", "layers.1", "lm_head"), value }), { maxLength: 2 }),
    );
    const parameters = fc.dictionary(fc.constantFrom("weight", "density", "t", "lambda", "normalize", "scale", "gamma"), setting, {
      maxKeys: 3,
    });
    const range = fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 2 })).map(([from, n]) => [from, from + n]);
    const source = fc.record({ model, layer_range: range, parameters });
    const tokenizer = fc.record({
      source: fc.oneof(fc.constantFrom("union", "base"), model),
      pad_to_multiple_of: fc.integer({ min: 1, max: 8 }),
    });
    const document = fc
      .record(
        {
          merge_method: fc.constantFrom(...mergeMethods.flatMap((m) => m.merging.mergekit)),
          base_model: model,
          models: fc.array(fc.record({ model, parameters }, { requiredKeys: ["model"] }), { minLength: 1, maxLength: 3 }),
          slices: fc.array(fc.record({ sources: fc.array(source, { minLength: 1, maxLength: 2 }), parameters }), {
            minLength: 1,
            maxLength: 2,
          }),
          parameters,
          tokenizer,
          dtype: fc.constantFrom("bfloat16", "float32"),
        },
        { requiredKeys: ["merge_method", "models", "parameters"] },
      )
      .map(({ models, slices, ...rest }) => (slices ? { ...rest, slices } : { ...rest, models }));
    let plans = 0;
    await fc.assert(
      fc.asyncProperty(document, async (d) => {
        try {
          const { tensors } = await plan(JSON.stringify(d));
          expect(new Set(tensors.map((t) => t.name)).size).toBe(tensors.length);
          plans++;
        } catch (error) {
          if (!isLfmError(error)) throw error;
        }
      }),
      { numRuns: 400, seed: 4 },
    );
    // Not everything may be an error: then nothing was tried.
    expect(plans).toBeGreaterThan(20);
  });
});
