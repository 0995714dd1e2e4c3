import { isLfmError } from "@lfm/core";
import type { EditRecord } from "@lfm/data";
import { factTokens, recordProbes } from "@lfm/editing";
import type { TextRules } from "@lfm/models";
import type { AskedEdit } from "./evaluate-edits.js";

/** A published record as an edit of a model, with what it asks. */
export interface RecordEdit extends AskedEdit {
  readonly record: EditRecord;
}

/** What of a file can be written into a model, and what not. */
export interface RecordEdits {
  readonly edits: readonly RecordEdit[];
  /** Why the others cannot be written, a message each that names the record. */
  readonly refused: readonly string[];
}

/** The records of a file as edits: what a model cannot be given (a prompt without its subject, words without a token) is counted, not made up. */
export function recordEdits(records: readonly EditRecord[], rules: TextRules): RecordEdits {
  const edits: RecordEdit[] = [];
  const refused: string[] = [];
  for (const record of records) {
    try {
      const request = factTokens(rules, record);
      const name = `${record.prompt} ${record.truth[0] ?? "…"} → ${record.target}`;
      edits.push({ record, name, request, probes: recordProbes(record), openings: record.generation, references: [] });
    } catch (error) {
      if (!isLfmError(error, "CONFIG_INVALID")) throw error;
      refused.push(error.message);
    }
  }
  return { edits, refused };
}
