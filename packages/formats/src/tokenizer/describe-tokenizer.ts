import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { readJsonObject } from "../json-file.js";
import { readSentencePiece } from "./sentencepiece.js";
import { type TokenizerClass, template, tokenizerClass, tokenText, type Vocabulary } from "./tokenizer-classes.js";

/** How text becomes ids, in the words of tokenizer.json. */
export interface TokenizerDescription {
  readonly description: Readonly<Record<string, unknown>>;
  /** tokenizer_config.json over special_tokens_map.json over the defaults of the class. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The file that errors name. */
  readonly path: string;
}

/** Files of which one is enough for a tokenizer, the best first. */
const VOCABULARIES = ["tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"];

/** Whether a folder holds a tokenizer in any of the forms that {@link describeTokenizer} reads. */
export function hasTokenizer(folder: string): boolean {
  return VOCABULARIES.some((name) => existsSync(join(folder, name)));
}

/**
 * The tokenizer of a Hugging Face folder as tokenizer.json describes it, made out of vocabulary files where there is none: vocab.txt, vocab.json
 * with merges.txt, or a SentencePiece model, by the rules of the class that the folder names, as transformers 5 makes it.
 * @throws {LfmError} FILE_IO, FILE_FORMAT; CAPABILITY_MISSING for a class that is not known here
 */
export function describeTokenizer(folder: string): TokenizerDescription {
  const own = optional(join(folder, "tokenizer_config.json"));
  const map = optional(join(folder, "special_tokens_map.json"));
  const path = join(folder, "tokenizer.json");
  if (existsSync(path)) return { description: readJsonObject(path), config: { ...map, ...own }, path };
  const found = VOCABULARIES.find((name) => existsSync(join(folder, name)));
  if (found === undefined)
    throw new LfmError("FILE_IO", `[@lfm/formats] ${folder} has no tokenizer: none of ${VOCABULARIES.join(", ")} is there`, {
      hint: "copy the tokenizer's files beside the weights",
    });
  const kind = tokenizerClass(folder, own.tokenizer_class, optional(join(folder, "config.json")).model_type);
  const missing = kind.files.find((name) => !existsSync(join(folder, name)));
  if (missing !== undefined)
    throw new LfmError("FILE_IO", `[@lfm/formats] ${folder} has ${found} and no ${missing}, which its tokenizer reads too`);
  const defaults = Object.fromEntries(Object.entries(kind.specials).map(([name, token]) => [`${name}_token`, token]));
  // What the config says of added tokens is all there is to say; older folders say it in two further files.
  const config = { ...defaults, ...("added_tokens_decoder" in own ? {} : map), ...withoutNulls(own) };
  return { description: describe(folder, kind, config), config, path: join(folder, found) };
}

function optional(path: string): Record<string, unknown> {
  return existsSync(path) ? readJsonObject(path) : {};
}

/** A token that is null in a config is one that the class has not. */
function withoutNulls(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([name, value]) => value !== null || name.endsWith("_token")));
}

function describe(folder: string, kind: TokenizerClass, config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { own, ...vocabulary } = readVocabulary(folder, kind, config);
  const ids = new Map<string, number>(
    Array.isArray(vocabulary.vocab) ? vocabulary.vocab.map(([token], id) => [token, id]) : Object.entries(vocabulary.vocab),
  );
  const added = addedTokens(folder, [...own, ...(kind.own?.(config) ?? []).map((text) => ({ text, special: true }))], config, ids);
  const idOf = (token: string): number => {
    const id = ids.get(token);
    if (id === undefined) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${folder}: the vocabulary has no "${token}"`);
    return id;
  };
  const recipe = kind.recipe(vocabulary, config, idOf);
  return {
    ...recipe,
    added_tokens: added,
    post_processor: recipe.post_processor === "ends" ? ends(config, idOf) : recipe.post_processor,
  };
}

/** Begin and end tokens where the config asks for them, and has them. */
function ends(config: Readonly<Record<string, unknown>>, idOf: (token: string) => number): object {
  const bos = config.add_bos_token === true ? tokenText(config.bos_token) : undefined;
  const eos = config.add_eos_token === true ? tokenText(config.eos_token) : undefined;
  const around = (text: string, type: number): string => `${bos ? `${bos}:${type} ` : ""}${text}:${type}${eos ? ` ${eos}:${type}` : ""}`;
  return template(around("$A", 0), `${around("$A", 0)} ${around("$B", 1)}`, idOf);
}

interface OwnToken {
  readonly text: string;
  readonly special: boolean;
  readonly normalized?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly single_word?: boolean;
}

const tokenObject = z.looseObject({
  content: z.string(),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().optional(),
  single_word: z.boolean().default(false),
  special: z.boolean().default(false),
});

/** Names of the special tokens, in the order in which transformers adds them. */
const SPECIALS = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);

/**
 * Tokens that stand for themselves: those of added_tokens_decoder or added_tokens.json, the special ones, further ones. What the vocabulary does
 * not have gets the next id behind it, whatever number a file gives, as the tokenizers library counts.
 * @param ids of the vocabulary; gets those that are added
 */
function addedTokens(
  folder: string,
  own: readonly OwnToken[],
  config: Readonly<Record<string, unknown>>,
  ids: Map<string, number>,
): readonly object[] {
  const named = SPECIALS.flatMap((name) => tokenOf(config[name], true) ?? []);
  const listed = [config.additional_special_tokens, config.extra_special_tokens].flatMap((list) => (Array.isArray(list) ? list : []));
  const extra = [...listed.flatMap((token) => tokenOf(token, true) ?? []), ...own];
  const special = new Set([...named, ...extra].filter((t) => t.special).map((t) => t.text));
  const found = new Map<string, OwnToken>();
  for (const token of [...filed(folder, config, special), ...named, ...extra]) if (!found.has(token.text)) found.set(token.text, token);
  let next = Math.max(-1, ...ids.values()) + 1;
  return [...found.values()].map(({ text, special: isSpecial, normalized, lstrip = false, rstrip = false, single_word = false }) => {
    if (!ids.has(text)) ids.set(text, next++);
    return { id: ids.get(text)!, content: text, single_word, lstrip, rstrip, normalized: normalized ?? !isSpecial, special: isSpecial };
  });
}

/** Tokens of added_tokens_decoder by their ids, or of the older added_tokens.json. */
function filed(folder: string, config: Readonly<Record<string, unknown>>, special: ReadonlySet<string>): readonly OwnToken[] {
  const decoder = config.added_tokens_decoder;
  if (typeof decoder === "object" && decoder !== null)
    return Object.entries(decoder as Readonly<Record<string, unknown>>)
      .sort(([a], [b]) => Number(a) - Number(b))
      .flatMap(([, token]) => tokenOf(token, false) ?? []);
  return Object.entries(optional(join(folder, "added_tokens.json")))
    .filter((entry): entry is [string, number] => typeof entry[1] === "number")
    .sort(([, a], [, b]) => a - b)
    .map(([text]) => ({ text, special: special.has(text), normalized: !special.has(text) }));
}

function tokenOf(value: unknown, special: boolean): OwnToken | undefined {
  if (typeof value === "string") return { text: value, special };
  const parsed = tokenObject.safeParse(value);
  if (!parsed.success) return undefined;
  const { content, normalized, special: own, lstrip, rstrip, single_word } = parsed.data;
  return { text: content, special: special || own, lstrip, rstrip, single_word, ...(normalized === undefined ? {} : { normalized }) };
}

function readVocabulary(
  folder: string,
  kind: TokenizerClass,
  config: Readonly<Record<string, unknown>>,
): Vocabulary & { readonly own: readonly OwnToken[] } {
  const path = join(folder, kind.files[0]!);
  const none = { merges: [], unkId: 0, charsmap: undefined, own: [] };
  if (kind.pieces !== undefined) return readPieces(path, kind, config);
  if (path.endsWith(".txt")) return { ...none, vocab: Object.fromEntries(readLines(path).map((line, id) => [line.trimEnd(), id])) };
  const vocab = readJsonObject(path);
  const wrong = Object.entries(vocab).find(([, id]) => !Number.isInteger(id) || (id as number) < 0);
  if (wrong) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: the id of "${wrong[0]}" is ${String(wrong[1])}`);
  return { ...none, vocab: vocab as Record<string, number>, merges: readMerges(join(folder, kind.files[1]!)) };
}

function readPieces(
  path: string,
  kind: TokenizerClass,
  config: Readonly<Record<string, unknown>>,
): Vocabulary & { readonly own: readonly OwnToken[] } {
  const { pieces, unkId, own, charsmap } = readSentencePiece(path);
  const scored = pieces.map(({ text, score }) => [text, score] as const);
  const tokens = own.map((t) => ({ ...t, normalized: false }));
  if (kind.pieces === "unigram") return { vocab: kind.arrange?.(scored, config) ?? scored, merges: [], unkId, charsmap, own: tokens };
  const vocab = Object.fromEntries(scored.map(([text], id) => [text, id]));
  return { vocab, merges: mergesOf(vocab), unkId, charsmap, own: tokens };
}

/** What a BPE of SentencePiece joins: every two pieces that make a third, in the order of its id. */
function mergesOf(vocab: Readonly<Record<string, number>>): readonly (readonly [string, string])[] {
  const known = new Set(Object.keys(vocab));
  return Object.entries(vocab)
    .sort(([, a], [, b]) => a - b)
    .flatMap(([text]) => {
      const letters = Array.from(text);
      return letters.slice(1).flatMap((_, i) => {
        const [left, right] = [letters.slice(0, i + 1).join(""), letters.slice(i + 1).join("")];
        return known.has(left) && known.has(right) ? [[left, right] as const] : [];
      });
    });
}

function readMerges(path: string): readonly (readonly [string, string])[] {
  return readLines(path).flatMap((line, i) => {
    if (line.startsWith("#version") || line === "") return [];
    const parts = line.split(" ");
    if (parts.length !== 2) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}:${i + 1} is no pair of tokens`);
    return [[parts[0]!, parts[1]!] as const];
  });
}

/** Lines without what ends the last one. */
function readLines(path: string): readonly string[] {
  try {
    const lines = readFileSync(path, "utf8")
      .replace(/^\ufeff/, "")
      .split(/\r?\n/);
    return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${path}`, { cause });
  }
}
