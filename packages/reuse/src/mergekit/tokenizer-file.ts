import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { readJsonFile } from "@lfm/formats";
import { z } from "zod";

const addedToken = z.looseObject({ id: z.number().int().nonnegative(), content: z.string() });
type Vocabulary = Readonly<Record<string, number>> | readonly (readonly [token: string, score: number])[];

/** Token → id, or in Unigram a list of [token, score]. Vocabularies are large: they are looked through, not copied. */
function isVocabulary(value: unknown): value is Vocabulary {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.every((one) => Array.isArray(one) && typeof one[0] === "string" && typeof one[1] === "number");
  for (const token in value) {
    const id = (value as Record<string, unknown>)[token];
    if (!Number.isInteger(id) || (id as number) < 0) return false;
  }
  return true;
}

const fileSchema = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  model: z.looseObject({
    type: z.string().optional(),
    vocab: z.custom<Vocabulary>(isVocabulary, "is no vocabulary: token → id, or a list of [token, score]"),
  }),
});

export type AddedToken = z.output<typeof addedToken>;

/** A tokenizer.json: what it calls its tokens. */
export interface TokenizerFile {
  readonly folder: string;
  readonly json: z.output<typeof fileSchema>;
  /** Token → id, added tokens included. */
  readonly vocabulary: ReadonlyMap<string, number>;
}

/**
 * Reads the tokenizer of a model's folder; undefined where the folder has none.
 * @throws {LfmError} FILE_FORMAT; CAPABILITY_MISSING where there are only the files of a slow tokenizer
 */
export function readTokenizerFile(folder: string, files: readonly string[], model: string): TokenizerFile | undefined {
  const path = join(folder, "tokenizer.json");
  if (!existsSync(path)) {
    const slow = files.filter((f) => /^(tokenizer\.model|vocab\.(txt|json))$/.test(f));
    if (slow.length === 0) return undefined;
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/reuse] "${model}" has ${slow.join(", ")} but no tokenizer.json, which vocabularies are merged from`,
      {
        hint: `python -c 'from transformers import AutoTokenizer as T; T.from_pretrained("${folder}", use_fast=True).save_pretrained("${folder}")'`,
      },
    );
  }
  return parseTokenizer(folder, readJsonFile(path), path);
}

function parseTokenizer(folder: string, value: unknown, path: string): TokenizerFile {
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) throw new LfmError("FILE_FORMAT", `[@lfm/reuse] ${path}: ${z.prettifyError(parsed.error)}`);
  return withVocabulary(folder, parsed.data);
}

function withVocabulary(folder: string, json: TokenizerFile["json"]): TokenizerFile {
  const { vocab } = json.model;
  const vocabulary = new Map<string, number>(Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab));
  for (const { content, id } of json.added_tokens) vocabulary.set(content, id);
  return { folder, json, vocabulary };
}

/**
 * Without the tokens that a model has no row for.
 * @throws {LfmError} CAPABILITY_MISSING for kinds of tokenizers that tokens cannot be taken out of
 */
export function withoutTokensFrom(tokenizer: TokenizerFile, rows: number, model: string): TokenizerFile {
  const unused = new Set([...tokenizer.vocabulary].filter(([, id]) => id >= rows).map(([token]) => token));
  if (unused.size === 0) return tokenizer;
  const { model: inner, added_tokens } = tokenizer.json;
  if (inner.type !== "BPE" || Array.isArray(inner.vocab))
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/reuse] the tokenizer of "${model}" has ${unused.size} tokens without a row; of a ${inner.type} they cannot be taken out`,
    );
  const merges = Array.isArray(inner.merges)
    ? inner.merges.filter((m) => ![...partsOf(m), partsOf(m).join("")].some((t) => unused.has(t)))
    : [];
  const vocab = Object.fromEntries(Object.entries(inner.vocab).filter(([token]) => !unused.has(token)));
  return withVocabulary(tokenizer.folder, {
    ...tokenizer.json,
    added_tokens: added_tokens.filter((t) => t.id < rows),
    model: { ...inner, vocab, merges },
  });
}

function partsOf(merge: unknown): readonly string[] {
  return typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge.map(String) : [];
}

/** With tokens added as the library `tokenizers` numbers them: known ones keep their id, new ones follow the largest. */
export function withAddedTokens(
  tokenizer: TokenizerFile,
  tokens: readonly (Omit<AddedToken, "id"> & { readonly content: string })[],
): TokenizerFile {
  const added = new Map(tokenizer.json.added_tokens.map((t) => [t.content, t]));
  const modelSize = Array.isArray(tokenizer.json.model.vocab)
    ? tokenizer.json.model.vocab.length
    : Object.keys(tokenizer.json.model.vocab).length;
  let largest = Math.max(-1, ...[...added.values()].map((t) => t.id));
  for (const token of tokens) {
    if (token.content === "") continue;
    const id = added.get(token.content)?.id ?? tokenizer.vocabulary.get(token.content) ?? Math.max(largest + 1, modelSize);
    largest = Math.max(largest, id);
    added.set(token.content, { ...token, id });
  }
  const added_tokens = [...added.values()].sort((a, b) => a.id - b.id);
  return withVocabulary(tokenizer.folder, { ...tokenizer.json, added_tokens });
}

/** An added token as `add_tokens("text")` makes it. */
export function plainToken(content: string): Omit<AddedToken, "id"> & { readonly content: string } {
  return { content, single_word: false, lstrip: false, rstrip: false, normalized: true, special: false };
}
