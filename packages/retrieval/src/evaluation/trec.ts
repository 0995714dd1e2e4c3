import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import type { Hit, Qrels, Run } from "../types.js";

/** Text of a file. @throws {LfmError} FILE_IO */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unreadable";
    throw new LfmError("FILE_IO", `[@lfm/retrieval] ${path}: cannot be read (${code})`, { details: { file: path }, cause });
  }
}

export function lineError(path: string, line: number, message: string): LfmError {
  return new LfmError("FILE_FORMAT", `[@lfm/retrieval] ${path}:${line}: ${message}`, { details: { file: path, line } });
}

/** Non-empty lines with their 1-based numbers. */
export function* linesOf(text: string): Generator<readonly [line: string, number: number]> {
  for (const [i, line] of text.split(/\r?\n/).entries()) if (line.trim() !== "") yield [line, i + 1];
}

/** Reads a TREC run: `query Q0 document rank score tag` a line; order by score, then rank. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readTrecRun(path: string): Run {
  const run = new Map<string, (Hit & { rank: number })[]>();
  for (const [line, number] of linesOf(readText(path))) {
    const [query, , id, rank, score, ...rest] = line.trim().split(/\s+/);
    if (score === undefined || rest.length > 1 || !Number.isFinite(Number(score)) || !Number.isInteger(Number(rank))) {
      throw lineError(path, number, "expected: query Q0 document rank score tag");
    }
    const hits = run.get(query!) ?? [];
    hits.push({ id: id!, score: Number(score), rank: Number(rank) });
    run.set(query!, hits);
  }
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

/** Reads judgements, TREC (`query 0 document grade`) or BEIR (tab separated with a header line). @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readQrels(path: string): Qrels {
  const qrels: Record<string, Record<string, number>> = {};
  for (const [line, number] of linesOf(readText(path))) {
    const fields = line.trim().split(/\s+/);
    if (number === 1 && fields[0] === "query-id") continue;
    const [query, id, grade] = fields.length === 3 ? fields : [fields[0], fields[2], fields[3]];
    if (fields.length > 4 || grade === undefined || !/^-?\d+$/.test(grade))
      throw lineError(path, number, "expected: query 0 document grade");
    qrels[query!] ??= {};
    qrels[query!]![id!] = Number(grade);
  }
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
  throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] TREC files cannot hold the id "${text}": it is empty or has white space`);
}

function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new LfmError("FILE_IO", `[@lfm/retrieval] ${path}: cannot be written`, { details: { file: path }, cause });
  }
}
