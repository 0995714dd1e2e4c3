import { LfmError } from "@lfm/core";
import type { RecordFile } from "../records.js";

/** What a column can hold. `input` is what instruction sets put below the instruction, `margin` how much better a chosen completion is. */
export type ColumnRole = "text" | "text2" | "label" | "prompt" | "input" | "completion" | "messages" | "chosen" | "rejected" | "margin";

/** The column of each role that is read. */
export type Columns = Readonly<Partial<Record<ColumnRole, string>>>;

/** Column names that other tools' files use for the same thing, the likelier first; case does not matter. */
const NAMES: Readonly<Record<ColumnRole, readonly string[]>> = {
  text: ["text", "sentence"],
  text2: ["text2"],
  label: ["label", "labels", "intent", "category", "class", "gold_label", "entailment_judgment"],
  prompt: ["prompt", "instruction", "question", "input"],
  input: ["input"],
  completion: ["completion", "response", "answer", "output"],
  messages: ["messages"],
  chosen: ["chosen"],
  rejected: ["rejected"],
  margin: ["margin"],
};

/** Columns of values, where a value is learned. */
const VALUES: readonly string[] = ["score", "similarity", "relatedness_score", "value", "target", ...NAMES.label];

/** Both texts of a pair, as GLUE, SNLI, SICK and others call them. */
const PAIRS: readonly (readonly [first: string, second: string])[] = [
  ["text", "text2"],
  ["text1", "text2"],
  ["sentence1", "sentence2"],
  ["sentence_a", "sentence_b"],
  ["premise", "hypothesis"],
  ["question1", "question2"],
  ["question", "sentence"],
];

/** `--columns` of the command line, said in hints. */
export interface ColumnChoice {
  /** Columns by role where their names do not tell. */
  readonly columns?: Columns;
  /** Labels are values: columns of scores come first. */
  readonly values?: boolean;
}

/** @throws {LfmError} FILE_FORMAT for a chosen column that the file does not have */
export function columnsOf(file: Pick<RecordFile, "path" | "columns">, { columns: chosen = {}, values = false }: ColumnChoice): Columns {
  const absent = Object.values(chosen).filter((name) => !file.columns.includes(name));
  if (absent.length > 0)
    throw new LfmError("FILE_FORMAT", `[@lfm/data] ${said(file)}; ${absent.map((n) => `"${n}"`).join(", ")} is missing`);
  const named = (name: string): string | undefined => file.columns.find((c) => c.toLowerCase() === name);
  const of = (role: ColumnRole, names = NAMES[role]): string | undefined =>
    chosen[role] ?? names.map(named).find((name) => name !== undefined);
  const pair =
    (chosen.text ?? chosen.text2) ? undefined : PAIRS.map((names) => names.map(named)).find(([a, b]) => a !== undefined && b !== undefined);
  const found = {
    text: pair?.[0] ?? of("text"),
    text2: pair?.[1] ?? chosen.text2,
    label: of("label", values ? VALUES : NAMES.label),
    prompt: of("prompt"),
    completion: of("completion"),
    messages: of("messages"),
    chosen: of("chosen"),
    rejected: of("rejected"),
    margin: of("margin"),
  };
  const input = chosen.input ?? (found.prompt?.toLowerCase() === "instruction" ? named("input") : undefined);
  return defined({ ...found, input });
}

/** `FILE has the columns a, b` */
export function said({ path, columns }: Pick<RecordFile, "path" | "columns">): string {
  return `${path} has the ${columns.length === 1 ? "column" : "columns"} ${columns.join(", ")}`;
}

function defined(columns: Readonly<Partial<Record<ColumnRole, string | undefined>>>): Columns {
  return Object.fromEntries(Object.entries(columns).filter(([, name]) => name !== undefined));
}
