import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { readPassages } from "./passages.js";
import { readQrels } from "./trec.js";
import type { Passage, Qrels, Query } from "./types.js";

export interface BeirSet {
  readonly documents: readonly Passage[];
  /** Those with judgements in the chosen split, in the order of the file. */
  readonly queries: readonly Query[];
  readonly qrels: Qrels;
}

/**
 * Reads a BEIR folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv; numbers count as ids.
 * @throws {LfmError} FILE_IO, also for a split that is not there, naming those that are; FILE_FORMAT naming file and line
 */
export function readBeir(folder: string, split = "test"): BeirSet {
  return { documents: readBeirDocuments(folder), queries: readBeirQueries(folder, split), qrels: readBeirQrels(folder, split) };
}

/** True where a folder looks like a BEIR set. Documents can be searched without judgements. */
export function isBeirFolder(folder: string): boolean {
  return ["corpus.jsonl", "queries.jsonl"].every((name) => existsSync(join(folder, name)));
}

/** @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readBeirDocuments(folder: string): Passage[] {
  return readPassages(join(folder, "corpus.jsonl"));
}

/** Queries with judgements in the split; without one all of them. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readBeirQueries(folder: string, split?: string): Query[] {
  const queries = readPassages(join(folder, "queries.jsonl")).map(({ id, text }) => ({ id, text }));
  if (split === undefined) return queries;
  const qrels = readBeirQrels(folder, split);
  return queries.filter(({ id }) => Object.hasOwn(qrels, id));
}

function readBeirQrels(folder: string, split: string): Qrels {
  const path = join(folder, "qrels", `${split}.tsv`);
  if (existsSync(path)) return readQrels(path);
  const there = existsSync(join(folder, "qrels"))
    ? readdirSync(join(folder, "qrels")).flatMap((name) => /^(.*)\.tsv$/.exec(name)?.[1] ?? [])
    : [];
  throw new LfmError("FILE_IO", `[@lfm/data] ${folder} has no judgements of the split "${split}"`, {
    hint: there.length > 0 ? `it has ${there.sort().join(", ")}` : "its folder qrels holds no .tsv",
  });
}
