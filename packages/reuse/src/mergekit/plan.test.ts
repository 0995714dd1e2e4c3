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
import { type DocumentPlan, planMerge } from "./plan.js";
import type { PlanMergeOptions } from "./plan-options.js";

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

  it("finds folders where it is told to", async () => {
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
    expect(Object.keys(texts)).toEqual(["config.json", "mergekit_config.yml", "README.md"]);
    expect(texts["mergekit_config.yml"]).toBe(text);
  });

  it("writes a card that names models of a hub as such, and folders as folders", async () => {
    const yaml = `merge_method: task_arithmetic\nbase_model: org/base\nmodels:\n${weighted("a", "org/b", "sub/b")}`;
    mkdirSync(join(folder, "sub"));
    cpSync(join(folder, "b"), join(folder, "sub/b"), { recursive: true });
    const resolve = async (name: string): Promise<string | undefined> =>
      name.startsWith("org/") ? join(folder, name.replace("org/", "")) : undefined;
    const card = (await plan(yaml, { resolve })).texts["README.md"]!;
    rmSync(join(folder, "sub"), { recursive: true });
    expect(card).toContain("base_model:\n- org/base\n- org/b\nlibrary_name: transformers\n");
    expect(card).toContain("Base: [org/base](https://huggingface.co/org/base)");
    expect(card).toContain("- `a`\n- [org/b](https://huggingface.co/org/b)\n- `sub/b`\n");
    expect(card).toContain("https://arxiv.org/abs/2212.04089");
    expect(card).toContain(`\`\`\`yaml\n${yaml}\n\`\`\``);
  });

  it("cuts embeddings to the rows that all have only where that is asked for", async () => {
    const text = linear("padded", "a");
    expect((await failure(text)).code).toBe("SHAPE_MISMATCH");
    const { tensors, texts, notes } = await plan(text, { unsafeTruncateEmbeddings: true });
    for (const name of ["model.embed_tokens.weight", "lm_head.weight"]) {
      const found = tensors.find((t) => t.name === name)!;
      expect(found.shape[0]).toBe(16);
      expect(found.models.map((m) => m.source.kind)).toEqual(["gathered", "stored"]);
    }
    expect(JSON.parse(texts["config.json"]!)).toMatchObject({ vocab_size: 16 });
    expect(notes).toContainEqual(expect.stringContaining("cut to 16 rows"));
    // Nothing else is cut, and models of one vocabulary are as ever.
    expect((await failure(linear("wide", "a"))).code).toBe("SHAPE_MISMATCH");
    expect((await plan(linear("a", "b"), { unsafeTruncateEmbeddings: true })).tensors).toEqual((await plan(linear("a", "b"))).tensors);
  });

  it("slices of models with different vocabularies are not cut: the result has the rows of where its embedding comes from", async () => {
    const slices = (first: string, second: string): string =>
      `merge_method: passthrough\nslices:\n  - sources: [{ model: ${first}, layer_range: [0, 2] }]\n  - sources: [{ model: ${second}, layer_range: [2, 4] }]`;
    const { texts, notes, tensors } = await plan(slices("padded", "chat"));
    expect(tensor({ tensors } as DocumentPlan, "model.embed_tokens.weight").shape[0]).toBe(24);
    expect(JSON.parse(texts["config.json"]!)).toMatchObject({ vocab_size: 24 });
    expect(notes.join()).not.toContain("cut to");
  });

  it("does not take an id of a tokenizer for a number of rows without limit", async () => {
    cpSync(join(folder, "a"), join(folder, "far"), { recursive: true });
    const path = join(folder, "far", "tokenizer.json");
    const file = JSON.parse(readFileSync(path, "utf8")) as { added_tokens: { id: number }[] };
    writeFileSync(path, JSON.stringify({ ...file, added_tokens: [...file.added_tokens, { id: 2_000_000_000, content: "<far>" }] }));
    const error = await failure(`${linear("a", "far")}tokenizer_source: far`);
    expect([error.code, error.message]).toEqual(["FILE_FORMAT", expect.stringContaining("the id 2000000000")]);
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
    // What the models are like tells why.
    expect(check.models.map((m) => [m.model, m.rows])).toEqual([
      ["a", 16],
      ["chat", 19],
    ]);
    const gone = await checkMerge(parseMergeConfig(linear("a", "nowhere"))[0]!, { folder, methods: mergeMethods });
    expect([gone.problems.map((p) => p.code), gone.models.map((m) => m.model)]).toEqual([["FILE_IO"], ["a"]]);
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
