import { formatError } from "../files.js";
import { type FileRecord, parseRecords } from "../records.js";
import { readTextFile } from "../text-file.js";
import { EDIT_FORMS, formReaders } from "./edit-forms.js";
import type { EditRecord } from "./edit-record.js";

/**
 * Facts of a file: CounterFact, zsRE (MEND's form), KnowEdit or EasyEdit, or `prompt`, `subject` and `target`; as a .json list, an object a line
 * (.jsonl), or a table (.csv, .tsv). What they ask beside the fact comes with each, and nothing of a record is lost: see {@link formatEdits}.
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file and line, and for a file without facts
 */
export function readEdits(path: string): readonly EditRecord[] {
  return parseEdits(path, readTextFile(path, `give ${EDIT_FORMS}`));
}

/** The same of text. @param path tells the kind of file by its ending @throws {LfmError} FILE_FORMAT */
export function parseEdits(path: string, text: string): readonly EditRecord[] {
  return parseRecords(path, text).records.map(editOf);
}

/** Objects and lists within each other; no set has more than five. */
const MOST_NESTED = 64;

/** One record. @throws {LfmError} FILE_FORMAT for one of no known form, or without a subject, a prompt or a new answer */
export function editOf(r: FileRecord): EditRecord {
  if (nestsBeyond(r.fields, MOST_NESTED)) throw formatError(r.at, `is no fact: it nests more than ${MOST_NESTED} objects and lists`);
  // Python writes these, JSON has no place for them: they would come back as nothing.
  if (holdsNoNumber(r.fields)) throw formatError(r.at, "is no fact: it holds NaN or Infinity");
  const reader = formReaders.find((f) => f.is(r));
  if (!reader)
    throw formatError(r.at, `is no fact: it has ${Object.keys(r.fields).join(", ") || "nothing"}, and no target`, {
      hint: EDIT_FORMS,
    });
  return { at: r.at, form: reader.form, ...reader.read(r), fields: r.fields };
}

/**
 * The text of a file of these records, which reads back equal: each as it was read.
 * @param kind a list, or an object a line
 */
export function formatEdits(records: readonly Pick<EditRecord, "fields">[], kind: "json" | "jsonl"): string {
  if (kind === "jsonl") return records.map(({ fields }) => `${JSON.stringify(fields)}\n`).join("");
  return `${JSON.stringify(
    records.map(({ fields }) => fields),
    null,
    1,
  )}\n`;
}

/** Without recursion, which a hostile file would exhaust; so would the text of such a record. */
function nestsBeyond(value: unknown, most: number): boolean {
  let level: readonly unknown[] = [value];
  for (let depth = 0; depth <= most; depth++) {
    level = level.flatMap((v) => (typeof v === "object" && v !== null ? Object.values(v) : []));
    if (level.length === 0) return false;
  }
  return true;
}

/** Whether there is NaN or an infinity in what nests no deeper than {@link MOST_NESTED}. */
function holdsNoNumber(value: unknown): boolean {
  if (typeof value === "number") return !Number.isFinite(value);
  return typeof value === "object" && value !== null && Object.values(value).some(holdsNoNumber);
}
