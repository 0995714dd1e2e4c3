import { renameSync, rmSync, writeFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { forEachLine, formatError, ioError } from "../files.js";
import { readTextFile } from "../text-file.js";
import type { Hit, Qrels, Run } from "./types.js";

/**
 * Fields of a line: between tabs where there are so many, for ids may have spaces then (BEIR's files); else between white space.
 * @param counts how many there may be
 */
function fieldsOf(line: string, counts: readonly number[]): readonly string[] {
  const byTabs = line.split("\t").map((field) => field.trim());
  return counts.includes(byTabs.length) ? byTabs : line.trim().split(/\s+/);
}

/**
 * Reads a TREC run: `query Q0 document rank score tag` a line; order by score, then rank.
 * @throws {LfmError} FILE_IO; FILE_FORMAT naming the line, also for a document that a query has twice: trec_eval refuses it, and it would count twice
 */
export function readTrecRun(path: string): Run {
  const run = new Map<string, (Hit & { rank: number })[]>();
  const seen = new Map<string, Set<string>>();
  forEachLine(readTextFile(path), (line, number) => {
    const fields = fieldsOf(line, [5, 6]);
    const [query, , id, rank, score] = fields;
    if (fields.length < 5 || fields.length > 6 || !Number.isFinite(Number(score || "x")) || !Number.isInteger(Number(rank || "x"))) {
      throw formatError(path, "expected: query Q0 document rank score tag", { line: number });
    }
    const found = seen.get(query!) ?? new Set();
    if (found.has(id!)) throw formatError(path, `query "${query}" has the document "${id}" twice`, { line: number });
    seen.set(query!, found.add(id!));
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

/**
 * Judgements in TREC's form (`query 0 document grade`) or BEIR's (three columns between tabs, under a header line).
 * @throws {LfmError} FILE_FORMAT naming the line, also where a pair is judged twice and not alike
 */
export function parseQrels(path: string, text: string): Qrels {
  const qrels = new Map<string, Map<string, number>>();
  forEachLine(text, (line, number) => {
    const fields = fieldsOf(line, [3, 4]);
    if (number === 1 && fields[0] === "query-id") return;
    const [query, id, grade] = fields.length === 3 && line.includes("\t") ? fields : [fields[0], fields[2], fields[3]];
    if (fields.length > 4 || grade === undefined || !/^-?\d+$/.test(grade))
      throw formatError(path, "expected: query 0 document grade", { line: number });
    const grades = qrels.get(query!) ?? new Map<string, number>();
    if ((grades.get(id!) ?? Number(grade)) !== Number(grade))
      throw formatError(path, `"${id}" is judged ${grades.get(id!)} and ${grade} for query "${query}"`, { line: number });
    qrels.set(query!, grades.set(id!, Number(grade)));
  });
  return Object.fromEntries([...qrels].map(([query, grades]) => [query, Object.fromEntries(grades)]));
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
