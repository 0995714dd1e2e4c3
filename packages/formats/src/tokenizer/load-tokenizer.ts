import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { LfmError } from "@lfm/core";
import { padBatch } from "./pad-batch.js";
import type { SpecialTokens, Tokenizer } from "./tokenizer.js";

type Json = Readonly<Record<string, unknown>>;

/**
 * The tokenizer of a Hugging Face folder (tokenizer.json, with tokenizer_config.json and special_tokens_map.json where they are).
 * @throws {LfmError} FILE_IO when there is none, FILE_FORMAT when it cannot be used
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const definition = readJson(join(folder, "tokenizer.json"));
  if (!definition)
    throw new LfmError("FILE_IO", `[@lfm/formats] ${folder} has no tokenizer.json`, {
      hint: "save the fast tokenizer of the model: AutoTokenizer.from_pretrained(…).save_pretrained(folder)",
    });
  const config = {
    ...(readJson(join(folder, "special_tokens_map.json")) ?? {}),
    ...(readJson(join(folder, "tokenizer_config.json")) ?? {}),
  };
  let tokenizer: HuggingFaceTokenizer;
  try {
    // Padding and truncation of the file belong to whoever saved it; here the caller decides.
    tokenizer = new HuggingFaceTokenizer({ ...definition, padding: null, truncation: null }, config);
  } catch (cause) {
    throw new LfmError(
      "FILE_FORMAT",
      `[@lfm/formats] ${join(folder, "tokenizer.json")}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  return wrap(tokenizer, config);
}

function wrap(tokenizer: HuggingFaceTokenizer, config: Json): Tokenizer {
  const specials = specialTokens(tokenizer, config);
  const tail = tailLength(tokenizer);
  const encode: Tokenizer["encode"] = (text, options = {}) => {
    const { ids, token_type_ids: segments } = tokenizer.encode(text, {
      add_special_tokens: options.addSpecialTokens ?? true,
      return_token_type_ids: true,
      ...(options.pair === undefined ? {} : { text_pair: options.pair }),
    });
    return { ids, segments: segments ?? ids.map(() => 0) };
  };
  return {
    vocabSize: tokenizer.get_vocab().size,
    specials,
    encode,
    encodeBatch: (texts, { maxLength = Number.POSITIVE_INFINITY } = {}) => {
      const rows = texts.map((text) => {
        const { ids, segments } = encode(text);
        if (ids.length <= maxLength) return { ids, segments };
        // What the post-processor puts at the end ([SEP]) survives the cut.
        const keep = Math.max(0, maxLength - tail);
        return { ids: [...ids.slice(0, keep), ...ids.slice(ids.length - tail)], segments: segments.slice(0, keep + tail) };
      });
      return padBatch(rows, specials.pad ?? 0);
    },
    decode: (ids, options = {}) => tokenizer.decode([...ids], { skip_special_tokens: options.skipSpecialTokens ?? false }),
  };
}

/** How many special tokens stand after a text. */
function tailLength(tokenizer: HuggingFaceTokenizer): number {
  const [bare, full] = [tokenizer.encode("a", { add_special_tokens: false }).ids, tokenizer.encode("a").ids];
  const start = full.findIndex((_, i) => bare.every((id, j) => full[i + j] === id));
  return start < 0 ? 0 : full.length - start - bare.length;
}

function specialTokens(tokenizer: HuggingFaceTokenizer, config: Json): SpecialTokens {
  const id = (name: string): number | undefined => {
    const value = config[`${name}_token`];
    const text =
      typeof value === "string"
        ? value
        : typeof value === "object" && value !== null
          ? (value as { readonly content?: string }).content
          : undefined;
    return text === undefined ? undefined : tokenizer.token_to_id(text);
  };
  return { pad: id("pad"), bos: id("bos"), eos: id("eos"), unk: id("unk"), cls: id("cls"), sep: id("sep"), mask: id("mask") };
}

function readJson(path: string): Json | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Json;
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is not JSON`, { cause });
  }
}
