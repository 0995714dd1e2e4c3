import { LfmError } from "@lfm/core";
import { formatError } from "../files.js";
import { type FileRecord, type RecordFile, readRecords } from "../records.js";
import { type ColumnChoice, type ColumnRole, type Columns, columnsOf, said } from "./columns.js";

/** What a file of examples was read by. */
export interface ExampleSource {
  readonly path: string;
  /** All columns of the file. */
  readonly columns: readonly string[];
  /** Those that were read, by what they hold. */
  readonly read: Columns;
}

/** A file of examples before its rows are looked at. */
export interface OpenedExamples {
  readonly file: RecordFile;
  readonly source: ExampleSource;
  readonly records: readonly FileRecord[];
}

/** @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file and line, and for a chosen column that it does not have */
export function openExamples(path: string, choice: ColumnChoice): OpenedExamples {
  const numbers = Object.values(choice.columns ?? {});
  const header = numbers.length === 0 || !numbers.every((name) => /^[1-9]\d*$/.test(name));
  const file = readRecords(path, { header });
  return { file, source: { path, columns: file.columns, read: columnsOf(file, choice) }, records: file.records };
}

/** For a file without the columns that are wanted. @param roles what a hint says, in the order of the file's columns */
export function unread(file: RecordFile, wanted: string, roles: readonly ColumnRole[] = ["text", "label"]): LfmError {
  const columns = roles.map((role, i) => `${role}=${file.columns[i] ?? "…"}`);
  const pairs = ["chosen", "rejected"].every((name) => file.columns.includes(name));
  return new LfmError("FILE_FORMAT", `[@lfm/data] ${said(file)}; wanted are ${wanted}`, {
    details: { file: file.path, columns: file.columns },
    hint: pairs
      ? "pairs of a chosen and a rejected completion are learned by an objective of their own: --objective dpo"
      : `name them so, or say which they are: --columns ${columns.join(",")}`,
  });
}

/** A text, number, true or false, as text. @throws {LfmError} FILE_FORMAT for a row without it */
export function labelOf(r: FileRecord, name: string): string {
  const label = stringOf(r, name);
  if (label.trim() === "") throw formatError(r.at, `no "${name}"`, { hint: "give every row its label, or leave the row out" });
  return label;
}

/** @throws {LfmError} FILE_FORMAT for a row without it, or where it is no number */
export function numberOf(r: FileRecord, name: string): number {
  const text = labelOf(r, name);
  const value = Number(text);
  if (Number.isFinite(value)) return value;
  throw formatError(r.at, `"${name}" is "${text}", which is no number`);
}

/** Whether a row has something there: null is nothing. */
export const has = ({ fields }: FileRecord, name: string): boolean => fields[name] !== undefined && fields[name] !== null;

/** @throws {LfmError} FILE_FORMAT for a row that has no text there */
export function stringOf(r: FileRecord, name: string): string {
  const value = r.fields[name];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (has(r, name)) throw formatError(r.at, `"${name}" is ${Array.isArray(value) ? "a list" : "an object"}; one text or number is wanted`);
  throw formatError(r.at, `${value === null ? `"${name}" is null` : `no "${name}"`}; other rows have it`, {
    hint: "give every row what the others have, or leave the row out",
  });
}
