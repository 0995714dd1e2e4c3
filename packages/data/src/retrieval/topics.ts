import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { forEachLine, formatError } from "../files.js";
import { parseRecords } from "../records.js";
import { readTextFile } from "../text-file.js";
import { isBeirFolder, readBeirQueries } from "./beir.js";
import { passagesOf } from "./passages.js";
import { isSmart, parseSmartQueries } from "./smart.js";
import type { Query } from "./types.js";

/**
 * Queries of a file: `.jsonl` (id, text), `.csv` with a header line, `.tsv` of `id<TAB>text` a line (or with a header that names text), TREC topics
 * (`<top><num>…<title>…</top>`; their titles are asked), SMART's form (numbered in their order), or a BEIR folder.
 * @param split of a BEIR folder: only queries with judgements there are asked; default test where it has that split, otherwise all
 * @throws {LfmError} FILE_IO; FILE_FORMAT naming file and line
 */
export function readTopics(path: string, split?: string): Query[] {
  if (existsSync(path) && statSync(path).isDirectory()) {
    if (isBeirFolder(path)) return readBeirQueries(path, split ?? (existsSync(join(path, "qrels", "test.tsv")) ? "test" : undefined));
    throw formatError(path, "is a folder without corpus.jsonl and queries.jsonl", { hint: "give a file of queries, or a BEIR folder" });
  }
  const text = readTextFile(path, "give queries: .jsonl with id and text, .tsv with id<TAB>text, or TREC topics");
  if (isSmart(text)) return parseSmartQueries(path, text);
  if (/<top>/i.test(text)) return parseTrecTopics(path, text);
  const table = /\.(csv|tsv|txt)$/i.test(path);
  return table && !hasHeader(path, text)
    ? parseTopics(path, text)
    : passagesOf(parseRecords(path, text)).map(({ id, text }) => ({ id, text }));
}

/** A .csv names its columns; of other tables the first line tells. */
function hasHeader(path: string, text: string): boolean {
  const end = text.indexOf("\n");
  const first = text.slice(0, end < 0 ? text.length : end).split("\t");
  return /\.csv$/i.test(path) || first.some((name) => /^(text|query)\s*$/i.test(name));
}

/** `id<TAB>text` a line. @throws {LfmError} FILE_FORMAT */
export function parseTopics(path: string, text: string): Query[] {
  const queries: Query[] = [];
  forEachLine(text, (line, number) => {
    const tab = line.indexOf("\t");
    if (tab <= 0) throw formatError(path, "expected id<TAB>text", { line: number });
    queries.push({ id: line.slice(0, tab), text: line.slice(tab + 1) });
  });
  return queries;
}

/** TREC's topics: tags need no end there, and what they name is repeated in words ("Number:", "Topic:"). @throws {LfmError} FILE_FORMAT */
function parseTrecTopics(path: string, text: string): Query[] {
  return [...text.matchAll(/<top>([\s\S]*?)<\/top>/gi)].map((match, i) => {
    const field = (name: string): string | undefined =>
      new RegExp(`<${name}>([^<]*)`, "i").exec(match[1]!)?.[1]?.replace(/\s+/g, " ").trim();
    const id = field("num")?.replace(/^number:\s*/i, "");
    const asked = field("title")?.replace(/^topic:\s*/i, "");
    if (!id || !asked) throw formatError(path, `topic ${i + 1} has no <num> or no <title>`);
    return { id, text: asked };
  });
}
