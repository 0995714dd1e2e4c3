import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { LfmError } from "@lfm/core";
import { checkIds } from "./check-ids.js";
import { describeTokenizer } from "./describe-tokenizer.js";
import { inTime } from "./in-time.js";
import { libraryForm } from "./library-form.js";
import { padBatch } from "./pad-batch.js";
import { textRepair } from "./repair-text.js";
import { hasPatterns, refuseSlowPatterns } from "./slow-patterns.js";
import { type BatchOptions, type Encoded, fitPair, type SpecialTokens, type Tokenizer } from "./tokenizer.js";

/**
 * The tokenizer of a Hugging Face folder: `tokenizer.json`, or the vocabulary files of older folders (see {@link describeTokenizer}), with
 * `tokenizer_config.json` and `special_tokens_map.json`.
 * Padding and truncation that `tokenizer.json` asks for are left to the options of `encodeBatch`. What stands around a text is the
 * post-processor's word alone: beside a tokenizer.json, `add_bos_token` and `add_eos_token` of the config count for nothing, as in transformers 5.
 * @throws {LfmError} FILE_IO without a vocabulary, FILE_FORMAT when it cannot be understood, CAPABILITY_MISSING for files of an unknown class
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const { description, config, path } = describeTokenizer(folder);
  checkIds(path, description);
  refuseSlowPatterns(path, description);
  const form = libraryForm(description);
  const repair = textRepair(description);
  const open = (): Tokenizer => {
    let inner: HubTokenizer;
    try {
      inner = new HubTokenizer(form.description, { clean_up_tokenization_spaces: false, ...config });
    } catch (cause) {
      throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${(cause as Error).message}`, { cause });
    }
    return wrap(inner, specialTokens(inner, config), config.truncation_side === "left", (text) => repair(form.rewrite(text)));
  };
  return hasPatterns(description) ? inTime(path, open) : open();
}

/** Stands for a text where a template is asked what it puts around one; no token is called so. */
const TEXT = "\0text\0";

/** A special token stands in configs as its text or as an object with `content`. */
function specialTokens(inner: HubTokenizer, config: Readonly<Record<string, unknown>>): SpecialTokens {
  const id = (name: string): number | undefined => {
    const token = config[`${name}_token`];
    const text = typeof token === "object" && token !== null ? (token as { content?: unknown }).content : token;
    return typeof text === "string" ? inner.token_to_id(text) : undefined;
  };
  return { pad: id("pad"), bos: id("bos"), eos: id("eos"), unk: id("unk"), cls: id("cls"), sep: id("sep"), mask: id("mask") };
}

function wrap(inner: HubTokenizer, specials: SpecialTokens, cutLeft: boolean, repair: (text: string) => string): Tokenizer {
  const added = new Map<string, number>();
  for (const [id, token] of inner.get_added_tokens_decoder()) {
    added.set(token.content, id);
    if (token.normalized && inner.normalizer) added.set(inner.normalizer(token.content), id);
  }
  const unknown = inner.model?.unk_token_id ?? specials.unk;
  const special = new Set([...inner.get_added_tokens_decoder()].filter(([, t]) => t.special).map(([id]) => id));

  const idOf = (token: string): number => {
    const id = added.get(token) ?? inner.token_to_id(token) ?? unknown;
    if (id === undefined)
      throw new LfmError("FILE_FORMAT", `[@lfm/formats] the tokenizer has neither an id for "${token}" nor for unknown tokens`);
    return id;
  };
  const split = (text: string): string[] => (text === "" ? [] : inner.tokenize(repair(text), { add_special_tokens: false }));
  const join = (first: string[], second: string[] | undefined, addSpecialTokens: boolean): Encoded => {
    if (!inner.post_processor) {
      const tokens = second ? [...first, ...second] : first;
      return { ids: tokens.map(idOf), segments: tokens.map((_, i) => (i < first.length ? 0 : 1)) };
    }
    const { tokens, token_type_ids: types } = inner.post_processor(first, second ?? null, addSpecialTokens);
    return { ids: tokens.map(idOf), segments: types ?? tokens.map(() => 0) };
  };
  const around = (): Tokenizer["around"] => {
    const tokens = inner.post_processor ? inner.post_processor([TEXT], null, true).tokens : [TEXT];
    const at = tokens.indexOf(TEXT);
    return { before: tokens.slice(0, at).map(idOf), after: tokens.slice(at + 1).map(idOf) };
  };
  const specialCount = (pair: boolean): number => join([], pair ? [] : undefined, true).ids.length;
  const cut = (tokens: string[], keep: number): string[] =>
    tokens.length <= keep ? tokens : cutLeft ? tokens.slice(tokens.length - keep) : tokens.slice(0, keep);

  return {
    vocabSize: inner.get_vocab(true).size,
    specials,
    around: around(),
    encode: (text, { pair, addSpecialTokens = true } = {}) =>
      join(split(text), pair === undefined ? undefined : split(pair), addSpecialTokens),
    encodeBatch: (texts, options = {}) => {
      const { pairs, addSpecialTokens = true } = options;
      const room = roomBeside(texts.length, options, addSpecialTokens ? specialCount(pairs !== undefined) : 0);
      const rows = texts.map((text, i) => {
        const [first, second] = [split(text), pairs ? split(pairs[i]!) : undefined];
        const [a, b] = fitPair(first.length, second?.length ?? 0, room);
        return join(cut(first, second ? a : Math.min(first.length, room)), second && cut(second, b), addSpecialTokens);
      });
      return padBatch(rows, specials.pad ?? specials.eos ?? 0);
    },
    decode: (ids, { skipSpecialTokens = false } = {}) => {
      const kept = [...ids].filter((id) => !(skipSpecialTokens && special.has(id)));
      return kept.length === 0 ? "" : inner.decode(kept);
    },
  };
}

/** Tokens of text that a row holds. @throws {LfmError} CONFIG_INVALID */
function roomBeside(texts: number, { maxLength = Number.POSITIVE_INFINITY, pairs }: BatchOptions, specials: number): number {
  if (pairs && pairs.length !== texts)
    throw new LfmError("CONFIG_INVALID", `[@lfm/formats] ${texts} texts have ${pairs.length} second texts`);
  if (!(maxLength >= Math.max(1, specials)))
    throw new LfmError("CONFIG_INVALID", `[@lfm/formats] maxLength ${maxLength} has no room beside ${specials} special tokens`);
  return maxLength - specials;
}
