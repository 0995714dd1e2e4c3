import { renameSync, rmSync, writeFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { forEachLine, formatError, ioError } from "../files.js";
import { readTextFile } from "../text-file.js";
import type { Hit, Qrels, Run } from "./types.js";

/** Reads a TREC run: `query Q0 document rank score tag` a line; order by score, then rank. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readTrecRun(path: string): Run {
  const run = new Map<string, (Hit & { rank: number })[]>();
  forEachLine(readTextFile(path), (line, number) => {
    const [query, , id, rank, score, ...rest] = line.trim().split(/\s+/);
    if (score === undefined || rest.length > 1 || !Number.isFinite(Number(score)) || !Number.isInteger(Number(rank))) {
      throw formatError(path, "expected: query Q0 document rank score tag", { line: number });
    }
    const hits = run.get(query!) ?? [];
    hits.push({ id: id!, score: Number(score), rank: Number(rank) });
    run.set(query!, hits);
  });
  return new Map(
    [...run].map(([query, hits]) => [
      query,
      hits.sort((a, b) => b.score - a.score || a.rank - b.rank).map(({ id, score }) => ({ id, score })),
    ]),
  );
}

/**
 * Writes a TREC run; scores with all digits, so that reading gives them back bit for bit.
 * @throws {LfmError} FILE_IO, CONFIG_INVALID for an id with white space, which the format cannot hold
 */
export function writeTrecRun(path: string, run: Run, tag = "lfm"): void {
  const lines: string[] = [];
  for (const [query, hits] of run) {
    for (const [i, { id, score }] of hits.entries()) lines.push(`${word(query)} Q0 ${word(id)} ${i + 1} ${score} ${word(tag)}\n`);
  }
  writeWhole(path, lines.join(""));
}

/** Reads judgements. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readQrels(path: string): Qrels {
  return parseQrels(path, readTextFile(path));
}

/** Judgements in TREC's form (`query 0 document grade`) or BEIR's (three columns between tabs, under a header line). @throws {LfmError} FILE_FORMAT */
export function parseQrels(path: string, text: string): Qrels {
  const qrels: Record<string, Record<string, number>> = {};
  forEachLine(text, (line, number) => {
    const fields = line.trim().split(/\s+/);
    if (number === 1 && fields[0] === "query-id") return;
    const [query, id, grade] = fields.length === 3 && line.includes("\t") ? fields : [fields[0], fields[2], fields[3]];
    if (fields.length > 4 || grade === undefined || !/^-?\d+$/.test(grade))
      throw formatError(path, "expected: query 0 document grade", { line: number });
    qrels[query!] ??= {};
    qrels[query!]![id!] = Number(grade);
  });
  return qrels;
}

/** Writes judgements in TREC form. @throws {LfmError} FILE_IO, CONFIG_INVALID */
export function writeQrels(path: string, qrels: Qrels): void {
  const lines = Object.entries(qrels).flatMap(([query, docs]) =>
    Object.entries(docs).map(([id, grade]) => `${word(query)} 0 ${word(id)} ${grade}\n`),
  );
  writeWhole(path, lines.join(""));
}

function word(text: string): string {
  if (text !== "" && !/\s/.test(text)) return text;
  throw new LfmError("CONFIG_INVALID", `[@lfm/data] TREC files cannot hold the id "${text}": it is empty or has white space`);
}

function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw ioError(path, "cannot be written", cause);
  }
}
