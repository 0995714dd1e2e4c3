import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Passage, Qrels, Query } from "../types.js";
import { lineError, linesOf, readQrels, readText } from "./trec.js";

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
  const queries = records(join(folder, "queries.jsonl")).map(({ id, text }) => ({ id, text }));
  return { documents: records(join(folder, "corpus.jsonl")), queries: queries.filter(({ id }) => Object.hasOwn(qrels, id)), qrels };
}

/** True where a folder looks like a BEIR set. */
export function isBeirFolder(folder: string): boolean {
  return ["corpus.jsonl", "queries.jsonl", "qrels"].every((name) => existsSync(join(folder, name)));
}

/** One JSON object a line: `_id` (or `id`), `text`, optional `title`. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function records(path: string): Passage[] {
  const found: Passage[] = [];
  for (const [line, number] of linesOf(readText(path))) {
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch (cause) {
      throw lineError(path, number, `not JSON: ${(cause as Error).message}`);
    }
    const { _id, id = _id, title, text } = (row ?? {}) as { _id?: unknown; id?: unknown; title?: unknown; text?: unknown };
    if (typeof id !== "string" || typeof text !== "string") throw lineError(path, number, "expected an object with _id and text");
    found.push({ id, text, ...(typeof title === "string" ? { title } : {}) });
  }
  return found;
}
