import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { convertGguf } from "../src/gguf/convert-gguf.js";
import { ggmlTypes } from "../src/gguf/ggml-types.js";
import { readSafetensors } from "../src/safetensors/read.js";
import { loadTokenizer } from "../src/tokenizer/load-tokenizer.js";

const golden = (name: string): string => join(import.meta.dirname, "golden", name);
const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
const folder = mkdtempSync(join(tmpdir(), "lfm-gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));

const typeOf = (name: string) => [...ggmlTypes.values()].find((t) => t.name === name)!;
/** The bits of each value; one NaN for all. */
const bitsOf = (values: Float32Array): Uint32Array =>
  Uint32Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length), (bits, i) =>
    Number.isNaN(values[i]) ? 0x7fc00000 : bits,
  );

/** As tools/golden/gguf_files.py draws them. */
function randomBytes(seed: number, count: number): Uint8Array {
  const out = new Uint8Array(count);
  for (let i = 0, x = seed; i < count; i++) {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}

describe("dequantised blocks against the gguf package", () => {
  const { random } = json(join(golden("gguf-blocks"), "golden.json")) as {
    readonly random: Readonly<Record<string, { readonly seed: number; readonly blocks: number; readonly sha256: string }>>;
  };
  it.each(Object.keys(random))("%s: random bytes, bit for bit", (name) => {
    const { seed, blocks, sha256 } = random[name]!;
    const type = typeOf(name);
    const out = new Float32Array(blocks * type.elements);
    type.dequantize!(randomBytes(seed, blocks * type.bytes), out);
    expect(createHash("sha256").update(bitsOf(out)).digest("hex")).toBe(sha256);
  });

  const { tensors } = readSafetensors(join(golden("gguf-blocks"), "extremes.safetensors"));
  const quantised = Object.keys(tensors).filter((key) => key.endsWith("/bytes"));
  it.each(quantised)("%s: scales that are 0, −0, subnormal, the largest, infinite", (key) => {
    const values = tensors[key.replace("/bytes", "/values")]!.read().data as Float32Array;
    const out = new Float32Array(values.length);
    typeOf(key.replace("/bytes", "")).dequantize!(tensors[key]!.read().data as Uint8Array, out);
    expect(bitsOf(out)).toEqual(bitsOf(values));
  });

  it("covers every type that is read", () => {
    const read = [...ggmlTypes.values()].filter((t) => t.dequantize).map((t) => t.name);
    expect(Object.keys(random).sort()).toEqual(read.sort());
  });
});

describe("vocabularies against the tokenizers that they were made of", () => {
  const path = golden("gguf-vocabularies");
  const all = json(join(path, "golden.json")) as {
    readonly texts: readonly string[];
    readonly chat_template: string;
    readonly [name: string]: unknown;
  };
  const converted = async (name: string): Promise<string> => {
    const out = join(folder, name);
    await convertGguf(join(path, `${name}.gguf`), out);
    return out;
  };

  it.each(["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o"])("byte-level BPE cut as %s", async (name) => {
    const { ids, chat } = all[name] as { readonly ids: readonly number[][]; readonly chat: readonly number[] };
    const out = await converted(name);
    const tokenizer = await loadTokenizer(out);
    for (const [i, text] of all.texts.entries()) expect(tokenizer.encode(text).ids, JSON.stringify(text)).toEqual(ids[i]);
    expect(tokenizer.encode("<|im_start|>user\nHello, world! How are you today?<|im_end|>\n").ids).toEqual(chat);
    expect(tokenizer.decode(chat, { skipSpecialTokens: true })).toBe("user\nHello, world! How are you today?\n");
    expect(json(join(out, "tokenizer_config.json"))).toMatchObject({
      bos_token: "<|endoftext|>",
      eos_token: "<|im_end|>",
      chat_template: all.chat_template,
      add_bos_token: name === "llama-bpe" || name === "tekken",
    });
    expect(json(join(out, "generation_config.json"))).toEqual({ bos_token_id: 0, eos_token_id: [2, 0] });
  });

  it.each(["spm", "spm-no-prefix"])("SentencePiece's BPE with bytes: %s", async (name) => {
    const { ids, decoded } = all[name] as { readonly ids: readonly number[][]; readonly decoded: readonly string[] };
    const tokenizer = await loadTokenizer(await converted(name));
    for (const [i, text] of all.texts.entries()) {
      // The reference takes the texts of control pieces for text; here, and in llama.cpp, they are the pieces.
      if (/<s>|<\/s>|<unk>/.test(text)) continue;
      expect(tokenizer.encode(text).ids, JSON.stringify(text)).toEqual(ids[i]);
      expect(tokenizer.decode(ids[i]!, { skipSpecialTokens: true }), JSON.stringify(text)).toBe(decoded[i]);
    }
  });
});
