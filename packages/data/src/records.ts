import { parse } from "csv-parse/sync";
import { forEachLine, formatError, isRecord, parseJson } from "./files.js";
import { readTextFile } from "./text-file.js";

/** One object of a .jsonl or .json file, or one row of a table. */
export interface FileRecord {
  /** File and line, or file and number, for messages. */
  readonly at: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface RecordFile {
  readonly path: string;
  /** Names of the columns over all records, in the order of their first appearance. */
  readonly columns: readonly string[];
  /** At least one. */
  readonly records: readonly FileRecord[];
}

export interface RecordOptions {
  /** Tables only. False: there is no header line, columns are named by their numbers from 1. Default true. */
  readonly header?: boolean;
}

const KINDS = "use .jsonl, .json, .csv, .tsv or .txt";

/**
 * Reads .jsonl or .ndjson (an object a line), .json (a list of objects, or an object a line), .csv, .tsv, and .txt (a table
 * where the first line has tabs, else a `text` a line). A .csv whose first line parts by tabs or semicolons is read by these; quotes count where
 * commas or semicolons part.
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file and line, and for a file without records
 */
export function readRecords(path: string, options: RecordOptions = {}): RecordFile {
  return parseRecords(path, readTextFile(path, KINDS), options);
}

/** The same of text. @throws {LfmError} FILE_FORMAT */
export function parseRecords(path: string, text: string, { header = true }: RecordOptions = {}): RecordFile {
  return recordFile(path, recordsOf(path, text, header));
}

/** An object a line, whatever the file is called. @throws {LfmError} FILE_FORMAT */
export function parseJsonLines(path: string, text: string): RecordFile {
  return recordFile(path, parseLines(path, text));
}

function recordFile(path: string, records: readonly FileRecord[]): RecordFile {
  if (records.length === 0) throw formatError(path, "holds no example");
  const columns = new Set(records.flatMap(({ fields }) => Object.keys(fields)));
  return { path, columns: [...columns], records };
}

function recordsOf(path: string, text: string, header: boolean): FileRecord[] {
  if (/\.(jsonl|ndjson)$/i.test(path)) return parseLines(path, text);
  if (/\.json$/i.test(path)) return text.trimStart().startsWith("[") ? parseList(path, text) : parseLines(path, text);
  if (/\.txt$/i.test(path) && header && !firstLine(text).includes("\t")) return parseTexts(path, text);
  if (/\.(csv|tsv|txt)$/i.test(path)) return parseTable(path, text, header);
  throw formatError(path, "unknown kind of file", { hint: KINDS });
}

function parseLines(path: string, text: string): FileRecord[] {
  const records: FileRecord[] = [];
  forEachLine(text, (line, number) => {
    const fields = parseJson(path, line, number);
    if (!isRecord(fields)) throw formatError(path, "not a JSON object", { line: number });
    records.push({ at: `${path}:${number}`, fields });
  });
  return records;
}

function parseTexts(path: string, text: string): FileRecord[] {
  const records: FileRecord[] = [];
  forEachLine(text, (line, number) => void records.push({ at: `${path}:${number}`, fields: { text: line } }));
  return records;
}

function parseList(path: string, text: string): FileRecord[] {
  const list = parseJson(path, text);
  if (!Array.isArray(list)) throw formatError(path, "not a list of objects");
  return list.map((fields: unknown, i) => {
    if (!isRecord(fields)) throw formatError(`${path}, example ${i + 1}`, "not a JSON object");
    return { at: `${path}, example ${i + 1}`, fields };
  });
}

function parseTable(path: string, text: string, header: boolean): FileRecord[] {
  const delimiter = delimiterOf(path, text);
  const rows = parseRows(path, text, delimiter);
  const [first] = rows;
  if (!first) return [];
  const names = header ? first.record.map((name) => name.trim()) : first.record.map((_, i) => String(i + 1));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw formatError(path, `two columns are called "${twice}"`, { line: 1, hint: "name them apart, or leave one out" });
  return rows.slice(header ? 1 : 0).map(({ record, line }) => ({
    at: `${path}:${line}`,
    fields: Object.fromEntries(names.map((name, i) => [name, record[i]])),
  }));
}

interface TableRow {
  readonly record: readonly string[];
  /** Where it begins, from 1. */
  readonly line: number;
}

function parseRows(path: string, text: string, delimiter: string): TableRow[] {
  const lines: number[] = [];
  // The parser counts the line where a record ends, and a line end of two characters within quotes as two.
  let twice = 0;
  const startOf = (record: readonly string[], end: number): number => {
    const within = record.join(" ").match(/[\r\n]/g)?.length ?? 0;
    const start = end - within - twice;
    twice += record.join(" ").match(/\r\n/g)?.length ?? 0;
    return start;
  };
  try {
    const records = parse(text, {
      delimiter,
      ...(delimiter === "\t" ? { quote: null } : {}),
      record_delimiter: ["\r\n", "\n"],
      skip_empty_lines: true,
      on_record: (record, context) => {
        lines.push(startOf(record, context.lines));
        return record;
      },
    });
    return records.map((record, i) => ({ record, line: lines[i]! }));
  } catch (cause) {
    throw formatError(path, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** A .tsv parts by tabs; for the others the first line tells. */
function delimiterOf(path: string, text: string): string {
  if (!/\.csv$/i.test(path)) return "\t";
  const first = firstLine(text);
  const count = (mark: string): number => first.split(mark).length - 1;
  return [",", "\t", ";"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
}

function firstLine(text: string): string {
  const end = text.indexOf("\n");
  return end < 0 ? text : text.slice(0, end);
}
