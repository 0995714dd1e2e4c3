import { existsSync } from "node:fs";
import { join } from "node:path";
import { forEachLine, formatError, isRecord, parseJson } from "../files.js";
import { readTextFile } from "../text-file.js";
import { readQrels } from "./trec.js";
import type { Passage, Qrels, Query } from "./types.js";

export interface BeirSet {
  readonly documents: readonly Passage[];
  /** Those with judgements in the chosen split, in the order of the file. */
  readonly queries: readonly Query[];
  readonly qrels: Qrels;
}

/**
 * Reads a BEIR folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv.
 * @throws {LfmError} FILE_IO, FILE_FORMAT naming file and line
 */
export function readBeir(folder: string, split = "test"): BeirSet {
  const qrels = readQrels(join(folder, "qrels", `${split}.tsv`));
  const queries = readPassages(join(folder, "queries.jsonl")).map(({ id, text }) => ({ id, text }));
  return { documents: readPassages(join(folder, "corpus.jsonl")), queries: queries.filter(({ id }) => Object.hasOwn(qrels, id)), qrels };
}

/** True where a folder looks like a BEIR set. */
export function isBeirFolder(folder: string): boolean {
  return ["corpus.jsonl", "queries.jsonl", "qrels"].every((name) => existsSync(join(folder, name)));
}

/** Passages or queries of a file. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readPassages(path: string): Passage[] {
  return parsePassages(path, readTextFile(path));
}

/** One JSON object a line: `_id` (or `id`), `text`, optional `title`. @throws {LfmError} FILE_FORMAT */
export function parsePassages(path: string, text: string): Passage[] {
  const found: Passage[] = [];
  forEachLine(text, (line, number) => {
    const row = parseJson(path, line, number);
    const { _id, id = _id, title, text: body } = isRecord(row) ? row : {};
    if (typeof id !== "string" || typeof body !== "string")
      throw formatError(path, "expected an object with _id and text", { line: number });
    found.push({ id, text: body, ...(typeof title === "string" ? { title } : {}) });
  });
  return found;
}
