import type { FileRecord } from "../records.js";
import { type ColumnChoice, type ColumnRole, type Columns, said } from "./columns.js";
import { isList, messagesOf, promptOf } from "./exchange.js";
import { type ExampleSource, labelOf, numberOf, openExamples, stringOf, unread } from "./fields.js";
import type { ChatMessage } from "./messages.js";

/** Where an example stands, `FILE:LINE`; absent for one that is from no file. */
export interface Placed {
  readonly at?: string;
}

/** A text, or a pair of texts that are read together: premise and hypothesis, question and sentence. */
export interface TextRow extends Placed {
  readonly text: string;
  readonly text2?: string;
}

export interface PromptRow extends Placed {
  readonly prompt: string;
}

export interface ChatRow extends Placed {
  readonly messages: readonly ChatMessage[];
  /** Messages that are only asked, where a prompt stands apart: nothing of them is an answer. Default none. */
  readonly asked?: number;
}

/** Rows of one kind. */
export interface Rows<K extends string, R extends Placed> {
  readonly kind: K;
  readonly rows: readonly R[];
  /** Absent for examples that are from no file. */
  readonly source?: ExampleSource;
}

/** Examples of a file, all of one kind. */
export type Examples =
  | Rows<"classification", TextRow & { readonly label: string }>
  | Rows<"regression", TextRow & { readonly value: number }>
  | Rows<"completion", PromptRow & { readonly completion: string }>
  | Rows<"messages", ChatRow>
  | Rows<"text", TextRow>;

/** What is asked without its answers. */
export type Unanswered = Rows<"text", TextRow> | Rows<"prompt", PromptRow> | Rows<"messages", ChatRow>;

/**
 * Reads examples of a .jsonl, .json, .csv, .tsv or .txt file (see {@link readRecords}): `messages`; `text` (and `text2`) + `label`; `prompt` +
 * `completion`, both texts or both lists of messages; or `text` alone, also under the names that other tools use. Every row must have what the file's columns promise: a row without its
 * label is refused, not passed over. Labels may be words, numbers, true and false.
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file, line and column
 */
export function readExamples(path: string, choice: ColumnChoice = {}): Examples {
  const { file, source, records } = openExamples(path, choice);
  const { text, label, prompt, completion, messages } = source.read;
  if (messages) return { kind: "messages", rows: records.map((r) => chatOf(r, messages)), source };
  if (text && label && choice.values)
    return { kind: "regression", rows: records.map((r) => ({ ...textOf(r, source.read), value: numberOf(r, label) })), source };
  if (text && label)
    return { kind: "classification", rows: records.map((r) => ({ ...textOf(r, source.read), label: labelOf(r, label) })), source };
  if (prompt && completion && records.some((r) => isList(r, prompt)))
    return { kind: "messages", rows: records.map((r) => conversationOf(r, prompt, completion)), source };
  if (prompt && completion)
    return {
      kind: "completion",
      rows: records.map((r) => ({ prompt: promptOf(r, source.read), completion: stringOf(r, completion), at: r.at })),
      source,
    };
  if (text) return { kind: "text", rows: records.map((r) => textOf(r, source.read)), source };
  throw unread(file, "text + label, prompt + completion, messages or text");
}

/**
 * Reads what is asked of such a file: `messages`, `text` (and `text2`), or `prompt`. Answers that stand beside are not looked at.
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export function readUnanswered(path: string, choice: ColumnChoice = {}): Unanswered {
  const { file, source, records } = openExamples(path, choice);
  const { text, prompt, messages } = source.read;
  if (messages) return { kind: "messages", rows: records.map((r) => chatOf(r, messages)), source };
  if (text) return { kind: "text", rows: records.map((r) => textOf(r, source.read)), source };
  if (prompt && records.some((r) => isList(r, prompt))) return { kind: "messages", rows: records.map((r) => chatOf(r, prompt)), source };
  if (prompt) return { kind: "prompt", rows: records.map((r) => ({ prompt: promptOf(r, source.read), at: r.at })), source };
  throw unread(file, "text, prompt or messages");
}

/** What columns a file has and which are wanted that it does not have: `a.csv has the columns text, y; label is missing`. */
export function missingColumns({ kind, source }: Pick<Examples, "kind" | "source">, wanted: readonly ColumnRole[]): string {
  if (!source) return `these examples are of kind ${kind}`;
  const missing = wanted.filter((role) => source.read[role] === undefined);
  return `${said(source)}; ${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} missing`;
}

/** @param i number of the example, from 0 */
export function placeOf(row: Placed, i: number): string {
  return row.at ?? `example ${i + 1}`;
}

function textOf(r: FileRecord, { text, text2 }: Columns): TextRow {
  return { text: stringOf(r, text!), ...(text2 === undefined ? {} : { text2: stringOf(r, text2) }), at: r.at };
}

function chatOf(r: FileRecord, messages: string): ChatRow {
  return { messages: messagesOf(r, messages), at: r.at };
}

/** A prompt and a completion that are messages. */
function conversationOf(r: FileRecord, prompt: string, completion: string): ChatRow {
  const [asked, answer] = [messagesOf(r, prompt), messagesOf(r, completion)];
  return { messages: [...asked, ...answer], asked: asked.length, at: r.at };
}
