import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { readWeights } from "../safetensors/sharded.js";
import { loadTokenizer } from "../tokenizer/load-tokenizer.js";
import { type ConvertedGguf, type ConvertGgufOptions, convertGguf } from "./convert-gguf.js";
import { f32Tensor, type GgufTensorData, type GgufWritten, writeGguf } from "./write-gguf.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-convert-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

const counted = (shape: readonly number[]): GgufTensorData => {
  const n = shape.reduce((a, b) => a * b, 1);
  return f32Tensor(
    Float32Array.from({ length: n }, (_, i) => i),
    shape,
  );
};
const llama: Readonly<Record<string, GgufWritten>> = {
  "general.architecture": { text: "llama" },
  "llama.context_length": { u32: 16 },
  "llama.embedding_length": { u32: 8 },
  "llama.block_count": { u32: 1 },
  "llama.feed_forward_length": { u32: 4 },
  "llama.attention.head_count": { u32: 2 },
  "llama.attention.layer_norm_rms_epsilon": { f32: 1e-5 },
};
const embedding = { "token_embd.weight": counted([4, 8]) };
const words: Readonly<Record<string, GgufWritten>> = {
  "tokenizer.ggml.model": { text: "gpt2" },
  "tokenizer.ggml.pre": { text: "gpt-2" },
  "tokenizer.ggml.tokens": { texts: ["a", "b", "ab", "<end>"] },
  "tokenizer.ggml.token_type": { i32s: [1, 1, 1, 3] },
  "tokenizer.ggml.merges": { texts: ["a b"] },
  "tokenizer.ggml.eos_token_id": { u32: 3 },
};

async function converted(
  metadata: Readonly<Record<string, GgufWritten>>,
  tensors: Readonly<Record<string, GgufTensorData>> = embedding,
  options: ConvertGgufOptions = {},
): Promise<ConvertedGguf & { readonly out: string }> {
  const out = join(folder, `m${++files}`);
  await writeGguf(`${out}.gguf`, metadata, tensors);
  return { ...(await convertGguf(`${out}.gguf`, out, options)), out };
}
const config = (out: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(out, "config.json"), "utf8")) as Record<string, unknown>;

describe("convertGguf", () => {
  it("puts the rows of rotary pairs into two halves, of biases as well", async () => {
    const { out } = await converted(llama, {
      ...embedding,
      "blk.0.attn_q.weight": counted([8, 2]),
      "blk.0.attn_q.bias": counted([8]),
      "blk.0.attn_v.bias": counted([8]),
    });
    const { weights } = readWeights(out);
    // Two heads of two pairs each.
    const order = [0, 2, 1, 3, 4, 6, 5, 7];
    expect([...weights["model.layers.0.self_attn.q_proj.bias"]!.read().data]).toEqual(order);
    expect([...weights["model.layers.0.self_attn.q_proj.weight"]!.read().data]).toEqual(order.flatMap((r) => [2 * r, 2 * r + 1]));
    expect([...weights["model.layers.0.self_attn.v_proj.bias"]!.read().data]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("gives tokenizer_config.json the length that the model reads, and its chat templates by their names", async () => {
    const written = async (more: Readonly<Record<string, GgufWritten>>): Promise<Record<string, unknown>> => {
      const { out } = await converted({ ...llama, ...words, ...more });
      return JSON.parse(readFileSync(join(out, "tokenizer_config.json"), "utf8")) as Record<string, unknown>;
    };
    const one = { "tokenizer.chat_template": { text: "say {{ messages }}" } };
    expect(await written(one)).toMatchObject({ model_max_length: 16, chat_template: "say {{ messages }}" });
    const more = { "tokenizer.chat_templates": { texts: ["tool_use"] }, "tokenizer.chat_template.tool_use": { text: "tools" } };
    expect((await written({ ...one, ...more })).chat_template).toEqual([
      { name: "default", template: "say {{ messages }}" },
      { name: "tool_use", template: "tools" },
    ]);
    expect(await written({})).not.toHaveProperty("chat_template");
    const gone = await written({ ...one, "tokenizer.chat_templates": { texts: ["rag"] } }).catch((e: unknown) => e);
    expect(isLfmError(gone, "FILE_FORMAT") && gone.message).toContain("tokenizer.chat_template.rag");
  });

  it("gives config.json the decimals that were meant, and the head that there is", async () => {
    const tied = await converted(llama);
    expect(config(tied.out)).toMatchObject({
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: true,
      num_key_value_heads: 2,
      head_dim: 4,
    });
    const untied = await converted(llama, { ...embedding, "output.weight": counted([4, 8]) });
    expect(config(untied.out).tie_word_embeddings).toBe(false);
  });

  it("reads rotary scaling: linear, yarn, the factors of Llama 3, and refuses others", async () => {
    const scaled = async (more: Readonly<Record<string, GgufWritten>>): Promise<unknown> =>
      config((await converted({ ...llama, ...more })).out).rope_scaling;
    expect(await scaled({ "llama.rope.scaling.type": { text: "linear" }, "llama.rope.scaling.factor": { f32: 2 } })).toEqual({
      rope_type: "linear",
      factor: 2,
    });
    expect(await scaled({ "llama.rope.scale_linear": { f32: 4 } })).toEqual({ rope_type: "linear", factor: 4 });
    expect(
      await scaled({
        "llama.rope.scaling.type": { text: "yarn" },
        "llama.rope.scaling.factor": { f32: 4 },
        "llama.rope.scaling.original_context_length": { u32: 4 },
        "llama.rope.scaling.attn_factor": { f32: 0.8 },
      }),
    ).toEqual({ rope_type: "yarn", factor: 4, original_max_position_embeddings: 4, attention_factor: 0.8 });
    expect(await scaled({ "llama.rope.scaling.type": { text: "none" } })).toBeUndefined();
    await expect(scaled({ "llama.rope.scaling.type": { text: "longrope" } })).rejects.toThrow(/"longrope"/);
    await expect(converted(llama, { ...embedding, "rope_freqs.weight": counted([2]) })).rejects.toThrow(/Llama 3/);
  });

  it("writes the end tokens of a chat beside that of a text, and rows that no token has into the vocabulary's size", async () => {
    const { out, tokenizer } = await converted(
      { ...llama, ...words, "tokenizer.ggml.eot_token_id": { u32: 2 } },
      { "token_embd.weight": counted([6, 8]) },
    );
    expect(tokenizer).toBe(true);
    expect(config(out)).toMatchObject({ vocab_size: 6, eos_token_id: [3, 2] });
    expect((await loadTokenizer(out)).encode("abba<end>").ids).toEqual([2, 1, 0, 3]);
  });

  it("says where a tokenizer is missing, and leaves one out that is asked to be", async () => {
    expect(await converted(llama)).toMatchObject({ tokenizer: false, notes: [expect.stringContaining("tokenizer.json")] });
    expect(await converted({ ...llama, ...words }, embedding, { tokenizer: false })).toMatchObject({ tokenizer: false, notes: [] });
  });

  it.each<readonly [string, Readonly<Record<string, GgufWritten>>, Readonly<Record<string, GgufTensorData>>, RegExp]>([
    ["an architecture that is not known", { ...llama, "general.architecture": { text: "rwkv7" } }, embedding, /"rwkv7" is not known/],
    ["no architecture", {}, embedding, /no general.architecture/],
    ["an adapter", { ...llama, "general.type": { text: "adapter" } }, embedding, /general\.type is "adapter"/],
    ["metadata that nobody reads", { ...llama, "llama.logit_scale": { f32: 2 } }, embedding, /llama\.logit_scale is not known/],
    [
      "a size that is a text",
      { ...llama, "llama.block_count": { text: "1" } },
      embedding,
      /llama\.block_count is no positive whole number/,
    ],
    ["layers that differ", { ...llama, "llama.feed_forward_length": { i32s: [4, 8] } }, embedding, /differs from layer to layer/],
    ["a partly turned head", { ...llama, "llama.rope.dimension_count": { u32: 2 } }, embedding, /2 of the 4 numbers/],
    ["no embedding", llama, {}, /token_embd\.weight/],
    ["a tensor without a place", llama, { ...embedding, "blk.0.mystery.weight": counted([2]) }, /"blk\.0\.mystery\.weight" has no place/],
    ["a layer too many", llama, { ...embedding, "blk.1.attn_norm.weight": counted([8]) }, /"blk\.1\.attn_norm\.weight" has no place/],
    [
      "a type that is known by its size only",
      llama,
      { ...embedding, "blk.0.ffn_up.weight": { shape: [1, 256], type: 19, bytes: new Uint8Array(50) } },
      /IQ1_S/,
    ],
    ["heads that do not divide", llama, { ...embedding, "blk.0.attn_q.weight": counted([6, 8]) }, /no matrix of 2 heads/],
    ["another kind of tokenizer", { ...llama, ...words, "tokenizer.ggml.model": { text: "rwkv" } }, embedding, /kind "rwkv"/],
    ["another way to cut words", { ...llama, ...words, "tokenizer.ggml.pre": { text: "prose" } }, embedding, /"prose"/],
    ["more tokens than rows", { ...llama, ...words }, { "token_embd.weight": counted([3, 8]) }, /4 tokens have 3 rows/],
    [
      "a special token that is none",
      { ...llama, ...words, "tokenizer.ggml.eos_token_id": { u32: 9 } },
      embedding,
      /is 9; there are 4 tokens/,
    ],
    ["types of other tokens", { ...llama, ...words, "tokenizer.ggml.token_type": { i32s: [1] } }, embedding, /4 tokens have 1 types/],
    ["a merge of one part", { ...llama, ...words, "tokenizer.ggml.merges": { texts: ["ab"] } }, embedding, /"ab" has no two parts/],
  ])("refuses %s", async (_, metadata, tensors, message) => {
    const error: unknown = await converted(metadata, tensors).catch((e: unknown) => e);
    expect(isLfmError(error, "FILE_FORMAT")).toBe(true);
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain(".gguf");
  });

  it("reads a model that lies in several files, and names a part that is missing", async () => {
    const part = (i: number): string => join(folder, `split-0000${i}-of-00002.gguf`);
    await writeGguf(part(1), { ...llama, "split.count": { u32: 2 } }, embedding);
    await expect(convertGguf(part(1), join(folder, "split"))).rejects.toThrow(/split-00002-of-00002\.gguf.*is missing/);
    await writeGguf(part(2), { "split.count": { u32: 2 } }, { "blk.0.attn_norm.weight": counted([8]) });
    expect(await convertGguf(part(1), join(folder, "split"))).toMatchObject({ parameters: 40 });
    await writeGguf(part(2), {}, embedding);
    await expect(convertGguf(part(1), join(folder, "split"))).rejects.toThrow(/lies in another part too/);
    await expect(converted({ ...llama, "split.count": { u32: 2 } })).rejects.toThrow(/one of 2 files/);
  });

  it("passes over metadata that it is told to", async () => {
    const { parameters } = await converted({ ...llama, "llama.logit_scale": { f32: 2 } }, embedding, {
      ignoreMetadata: ["llama.logit_scale"],
    });
    expect(parameters).toBe(32);
  });

  it("stops between two pieces", async () => {
    const stop = new AbortController();
    const error: unknown = await converted(
      llama,
      { ...embedding, "blk.0.attn_norm.weight": counted([8]) },
      { signal: stop.signal, progress: () => stop.abort() },
    ).catch((e: unknown) => e);
    expect(isLfmError(error, "ABORTED")).toBe(true);
  });
});
