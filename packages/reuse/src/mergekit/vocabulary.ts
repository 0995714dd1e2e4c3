import { LfmError } from "@lfm/core";
import type { GatheredTensor, TensorSource } from "../merging/plan.js";
import type { MergeDocument, ModelReference, TokenChoice } from "./document.js";
import { gatheredTensor, type Row } from "./gathered-rows.js";
import type { ModelFiles } from "./model-files.js";
import { shapeOf } from "./tensor-types.js";
import { plainToken, readTokenizerFile, type TokenizerFile, withAddedTokens, withoutTokensFrom } from "./tokenizer-file.js";

/** The vocabulary of the result, and which row of a model a token of it has. */
export interface MergedVocabulary {
  readonly tokenizer: TokenizerFile;
  /** The model whose tokenizer's files go beside the result. */
  readonly owner: ModelFiles;
  /** The tokenizer is that of the owner, nothing added or taken out. */
  readonly unchanged: boolean;
  /** Rows of the result. */
  readonly rows: number;
  readonly notes: readonly string[];
  readonly gather: (
    sources: ReadonlyMap<ModelFiles, TensorSource>,
    name: string,
    base: ModelFiles | undefined,
  ) => ReadonlyMap<ModelFiles, TensorSource>;
}

/**
 * The vocabulary that `tokenizer` or `tokenizer_source` asks for, as mergekit 0.1.5 builds it.
 * New tokens of a union are numbered model by model in the order of the file, by their ids there.
 * @param models all models of the configuration, the base (or the first) in front
 * @throws {LfmError} CAPABILITY_MISSING, FILE_FORMAT, CONFIG_INVALID
 */
export function mergeVocabularies(
  document: MergeDocument,
  models: readonly ModelFiles[],
  open: (reference: ModelReference) => ModelFiles,
): MergedVocabulary {
  const choice = document.tokenizer!;
  const notes: string[] = [];
  const [first] = models;
  const full = readTokenizerFile(first!.tokenizerFolder, first!.tokenizerFiles, first!.name);
  if (!full)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] ${document.locate(["tokenizer"])}: "${first!.name}" has no tokenizer.json`, {
      hint: `copy the tokenizer's files into ${first!.folder}`,
    });
  const stripped = withoutTokensFrom(full, rowCount(first!, full), first!.name);
  const own = new Map<ModelFiles, TokenizerFile>([[first!, stripped]]);
  for (const files of models.slice(1)) {
    const tokenizer = readTokenizerFile(files.tokenizerFolder, files.tokenizerFiles, files.name);
    if (tokenizer) own.set(files, tokenizer);
    else notes.push(`"${files.name}" has no tokenizer: it is taken to have that of "${first!.name}"`);
  }
  const owner = typeof choice.source === "string" ? first! : open(choice.source);
  const source = typeof choice.source === "string" ? stripped : readTokenizerFile(owner.tokenizerFolder, owner.tokenizerFiles, owner.name);
  if (!source)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] ${document.locate(["tokenizer"])}: "${owner.name}" has no tokenizer.json`);
  const united = choice.source === "union" ? union(stripped, own) : source;
  const asked = Object.keys(choice.tokens).filter((token) => !united.vocabulary.has(token));
  const tokenizer = withAddedTokens(united, asked.map(plainToken));
  const size = [...tokenizer.vocabulary.values()].reduce((most, id) => Math.max(most, id + 1), tokenizer.vocabulary.size);
  // Ids are rows of a matrix: one far beyond the number of tokens is a broken file, not a vocabulary.
  if (size > 4 * tokenizer.vocabulary.size + 65_536)
    throw new LfmError(
      "FILE_FORMAT",
      `[@lfm/reuse] the tokenizer of "${owner.name}" has ${tokenizer.vocabulary.size} tokens and the id ${size - 1}`,
    );
  const pad = choice.padToMultipleOf ?? 1;
  const rows = Math.ceil(size / pad) * pad;
  const tokens = new Map(Object.entries(choice.tokens));
  const rowsByModel = new Map<ModelFiles, Int32Array>();
  const rowsIn = (files: ModelFiles): Int32Array => {
    const known = rowsByModel.get(files) ?? rowsOf(files, own.get(files) ?? stripped, tokenizer, size);
    rowsByModel.set(files, known);
    return known;
  };
  return {
    tokenizer,
    owner,
    unchanged: JSON.stringify(tokenizer.json) === JSON.stringify(owner === first ? full.json : source.json),
    rows,
    notes,
    gather: (sources, name, base) => {
      const rowOf = new Map([...sources.keys()].map((files) => [files, rowsIn(files)]));
      return gatherRows({ sources, name, base, rowOf, own, tokenizer, tokens, size, rows, document, open });
    },
  };
}

/**
 * The rows that all models have, whatever they mean (mergekit's --unsafe-truncate-embeddings): ids of tokens are taken to be the same everywhere,
 * and those beyond the smallest vocabulary go.
 */
export function commonRows(sources: ReadonlyMap<ModelFiles, TensorSource>): ReadonlyMap<ModelFiles, TensorSource> {
  const rows = Math.min(...[...sources.values()].map((source) => shapeOf(source)[0]!));
  const cut = (source: TensorSource): TensorSource =>
    shapeOf(source)[0] === rows ? source : gatheredTensor([source], 0, rows, (id) => id);
  return new Map([...sources].map(([files, source]) => [files, cut(source)]));
}

/** Rows that a model has, by its config; tokens beyond have none. */
function rowCount(files: ModelFiles, tokenizer: TokenizerFile): number {
  const text = files.config.text_config as Record<string, unknown> | undefined;
  const size = files.config.vocab_size ?? text?.vocab_size;
  return Math.min(typeof size === "number" ? size : tokenizer.vocabulary.size, files.rows ?? Number.POSITIVE_INFINITY);
}

function union(base: TokenizerFile, all: ReadonlyMap<ModelFiles, TokenizerFile>): TokenizerFile {
  const plain: ReturnType<typeof plainToken>[] = [];
  const special: TokenizerFile["json"]["added_tokens"] = [];
  const seen = new Set(base.vocabulary.keys());
  const seenAdded = new Set<string>();
  for (const [files, tokenizer] of all) {
    const rows = rowCount(files, tokenizer);
    const added = new Set(tokenizer.json.added_tokens.map((t) => t.content));
    for (const [token, id] of [...tokenizer.vocabulary].sort(([, a], [, b]) => a - b)) {
      if (id >= rows || added.has(token) || seen.has(token)) continue;
      seen.add(token);
      plain.push(plainToken(token));
    }
    for (const token of tokenizer.json.added_tokens) {
      if (token.id >= rows || seenAdded.has(token.content)) continue;
      seenAdded.add(token.content);
      special.push(token);
    }
  }
  const names = new Set(special.map((t) => t.content));
  return withAddedTokens(base, [...plain.filter((t) => !names.has(t.content)), ...special]);
}

/** New id of a token → its row in the model, −1 where it has none. */
function rowsOf(files: ModelFiles, tokenizer: TokenizerFile, result: TokenizerFile, size: number): Int32Array {
  const rows = rowCount(files, tokenizer);
  const found = new Int32Array(size).fill(-1);
  for (const [token, id] of result.vocabulary) {
    const row = tokenizer.vocabulary.get(token);
    if (row !== undefined && row < rows) found[id] = row;
  }
  return found;
}

interface Gathering {
  readonly sources: ReadonlyMap<ModelFiles, TensorSource>;
  readonly name: string;
  readonly base: ModelFiles | undefined;
  readonly rowOf: ReadonlyMap<ModelFiles, Int32Array>;
  readonly own: ReadonlyMap<ModelFiles, TokenizerFile>;
  readonly tokenizer: TokenizerFile;
  readonly tokens: ReadonlyMap<string, TokenChoice>;
  /** Rows with a token. */
  readonly size: number;
  readonly rows: number;
  readonly document: MergeDocument;
  readonly open: (reference: ModelReference) => ModelFiles;
}

function gatherRows(g: Gathering): ReadonlyMap<ModelFiles, TensorSource> {
  const models = [...g.sources.keys()];
  const of = models.map((m) => g.sources.get(m)!);
  const known = models.map((m) => g.rowOf.get(m)!);
  const fill = new Map<number, Row>();
  const forced = new Set<number>();
  for (const [token, id] of g.tokenizer.vocabulary) {
    const choice = g.tokens.get(token);
    if (choice?.force) forced.add(id);
    if (choice?.force || known.some((rows) => rows[id]! < 0)) fill.set(id, rowOfToken(token, id, choice, models, g));
  }
  return new Map(
    models.map((files, i) => {
      const rowAt = (id: number): Row | number => (known[i]![id]! >= 0 && !forced.has(id) ? known[i]![id]! : (fill.get(id) ?? []));
      const isSame = g.rows === shapeOf(of[i]!)[0] && g.size === g.rows && known[i]!.every((row, id) => row === id && !forced.has(id));
      return [files, isSame ? of[i]! : padded(gatheredTensor(of, i, g.size, rowAt), g.size, g.rows)];
    }),
  );
}

/** What a token gets in models that do not have it. */
function rowOfToken(token: string, id: number, choice: TokenChoice | undefined, models: readonly ModelFiles[], g: Gathering): Row {
  const rowIn = (m: ModelFiles): readonly [number, number] => [models.indexOf(m), g.rowOf.get(m)![id]!];
  if (!choice) {
    const owners = models.filter((m) => g.rowOf.get(m)![id]! >= 0);
    if (owners.length <= 1) return owners.map(rowIn);
    return g.base && owners.includes(g.base) ? [rowIn(g.base)] : owners.map(rowIn);
  }
  const fail = (message: string, hint?: string): LfmError =>
    new LfmError(
      "CONFIG_INVALID",
      `[@lfm/reuse] ${g.document.locate(["tokenizer", "tokens", token])}: token "${token}" ${message}`,
      hint ? { hint } : {},
    );
  const { source } = choice;
  if (!source)
    throw fail("needs a source: some model does not have it", `tokens: {${JSON.stringify(token)}: {source: ${models[0]!.name}}}`);
  if (source.kind === "zero") return [];
  const files = g.open(source.model);
  if (!g.sources.has(files))
    throw fail(`comes from "${files.name}", which gives nothing to "${g.name}"`, `sources there: ${models.map((m) => m.name).join(", ")}`);
  if (source.kind === "model") {
    if (g.rowOf.get(files)![id]! < 0) throw fail(`is not in the vocabulary of "${files.name}"`);
    return [rowIn(files)];
  }
  const row = typeof source.token === "number" ? source.token : g.own.get(files)?.vocabulary.get(source.token);
  const rows = shapeOf(g.sources.get(files)!)[0]!;
  if (row === undefined || row >= rows) throw fail(`comes from token ${JSON.stringify(source.token)}, which "${files.name}" does not have`);
  return [[models.indexOf(files), row]];
}

/** Rows without a token are the mean of all others (J. Hewitt, "Initializing new word embeddings", 2021), as in mergekit. */
function padded(tokens: GatheredTensor, size: number, rows: number): GatheredTensor {
  if (rows === size) return tokens;
  const all = Array.from({ length: size }, (_, id) => [0, id] as const);
  const mean = gatheredTensor([tokens], 0, 1, () => all);
  return gatheredTensor([tokens, mean], 0, rows, (id) => (id < size ? id : [[1, 0]]));
}
