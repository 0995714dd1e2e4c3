import { f32, type HostTensor, i32, LfmError } from "@lfm/core";
import { type Examples, missingColumns, placeOf } from "@lfm/data";
import type { Tokenizer } from "@lfm/formats";
import { type LearningTask, type Sampler, tokenClassification, tokenRegression, withBatches } from "@lfm/train";
import type { BatchOptions } from "./token-rows.js";

/** What an encoder's head answers with. */
export type Goal = { readonly kind: "classes"; readonly names: readonly string[] } | { readonly kind: "value" };

/** Texts, or pairs of texts, as an encoder reads them. */
export interface TextRows {
  readonly texts: readonly string[];
  /** The second text of each row, where rows are pairs. */
  readonly pairs?: readonly string[];
}

export interface LabelledRows extends TextRows {
  /** Numbers of classes. */
  readonly labels: Int32Array;
}

export interface ValuedRows extends TextRows {
  readonly values: Float32Array;
}

export type AnsweredRows = LabelledRows | ValuedRows;

/** Outputs of a head for this. */
export function outputsOf(goal: Goal): number {
  return goal.kind === "value" ? 1 : goal.names.length;
}

/** Label names in a fixed order: numbers by value, words by alphabet. @throws {LfmError} CONFIG_INVALID for examples without labels */
export function labelNames(examples: Examples): string[] {
  const names = [...new Set(labelled(examples).rows.map((r) => r.label))];
  return names.every(isNumber) ? names.sort((a, b) => Number(a) - Number(b)) : names.sort();
}

/** What examples are answered with, each once: names of classes in their order, or completions as they come. @throws {LfmError} CONFIG_INVALID for examples without */
export function answersOf(examples: Examples): readonly string[] {
  return examples.kind === "completion" ? [...new Set(examples.rows.map((r) => r.completion.trim()))] : labelNames(examples);
}

/** True for labels such as 3.8: numbers that look like values rather than names. */
export function looksLikeValues(names: readonly string[]): boolean {
  return names.every(isNumber) && names.some((name) => !Number.isInteger(Number(name)));
}

function isNumber(name: string): boolean {
  return name.trim() !== "" && Number.isFinite(Number(name));
}

/** Examples as they are learned for a goal. @throws {LfmError} CONFIG_INVALID for others, naming columns and rows */
export function answeredRows(examples: Examples, goal: Goal): AnsweredRows {
  return goal.kind === "classes" ? labelledRows(examples, goal.names) : valuedRows(examples);
}

/** @throws {LfmError} CONFIG_INVALID for examples without labels, and for a label that is not among `names`, with its place */
export function labelledRows(examples: Examples, names: readonly string[]): LabelledRows {
  const { rows } = labelled(examples);
  const index = new Map(names.map((n, i) => [n, i]));
  // Models of the hub often have LABEL_0, LABEL_1 … where their data says 0, 1 …
  if (names.every((n, i) => n === `LABEL_${i}`)) for (const i of names.keys()) index.set(String(i), i);
  const labels = rows.map((r, i) => {
    const k = index.get(r.label);
    if (k !== undefined) return k;
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${placeOf(r, i)}: the label "${r.label}" is none of ${shortList(names)}`, {
      details: { label: r.label, labels: names },
      hint: "a model is measured on the classes that it was trained with",
    });
  });
  return { ...textRows(rows), labels: Int32Array.from(labels) };
}

/** @throws {LfmError} CONFIG_INVALID for examples without values */
export function valuedRows(examples: Examples): ValuedRows {
  if (examples.kind !== "regression")
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/tuning] values are learned from text + score; ${missingColumns(examples, ["text", "label"])}`,
      {
        hint: "--columns text=…,label=…",
      },
    );
  return { ...textRows(examples.rows), values: Float32Array.from(examples.rows, (r) => r.value) };
}

/** The texts of rows, without what is right about them. */
export function textRows(rows: readonly { readonly text: string; readonly text2?: string }[]): TextRows {
  const texts = rows.map((r) => r.text);
  return rows.some((r) => r.text2 !== undefined) ? { texts, pairs: rows.map((r) => r.text2 ?? "") } : { texts };
}

/** Reads all texts once, so that one which the model cannot read is named before any work. @throws {LfmError} as the tokenizer */
export function requireReadable({ texts, pairs }: TextRows, tokenizer: Tokenizer): void {
  for (const text of [...texts, ...(pairs ?? [])]) tokenizer.encode(text);
}

/** tokens i32[n, seq], mask f32[n, seq], and of pairs segments i32[n, seq]. @param picked numbers of rows */
export function textBatch(
  { texts, pairs }: TextRows,
  picked: readonly number[],
  tokenizer: Tokenizer,
  maxLength: number,
): { readonly tokens: HostTensor; readonly mask: HostTensor; readonly segments?: HostTensor } {
  const second = pairs && picked.map((k) => pairs[k]!);
  const { tokens, mask, segments } = tokenizer.encodeBatch(
    picked.map((k) => texts[k]!),
    { maxLength, ...(second ? { pairs: second } : {}) },
  );
  return { tokens, mask, ...(second ? { segments } : {}) };
}

/** Learning of rows. @param order which of them a batch has */
export function answeredTask(
  name: string,
  rows: AnsweredRows,
  tokenizer: Tokenizer,
  { maxLength }: Pick<BatchOptions, "maxLength">,
  order: Pick<Sampler, "batch" | "perEpoch">,
): LearningTask {
  requireReadable(rows, tokenizer);
  const pairs = { pairs: rows.pairs !== undefined };
  const shape = "labels" in rows ? tokenClassification(name, pairs) : tokenRegression(name, 1, pairs);
  const answers = (picked: readonly number[]): Readonly<Record<string, HostTensor>> =>
    "labels" in rows
      ? { labels: i32(picked.map((k) => rows.labels[k]!)) }
      : {
          values: f32(
            picked.map((k) => rows.values[k]!),
            [picked.length, 1],
          ),
        };
  const batches = (number: number): ReturnType<LearningTask["batches"]> => {
    const picked = order.batch(number);
    return { ...textBatch(rows, picked, tokenizer, maxLength), ...answers(picked) };
  };
  return withBatches(shape, batches, order.perEpoch);
}

/** Rows in their order, each once. */
export function inOrder(count: number, batchSize: number): Pick<Sampler, "batch" | "perEpoch"> {
  const batch = (number: number): number[] =>
    Array.from({ length: Math.min(batchSize, count - number * batchSize) }, (_, i) => number * batchSize + i);
  return { batch, perEpoch: Math.ceil(count / batchSize) };
}

function labelled(examples: Examples): Extract<Examples, { kind: "classification" }> {
  if (examples.kind === "classification") return examples;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/tuning] a classifier learns from text + label; ${missingColumns(examples, ["text", "label"])}`,
    {
      hint: "--columns text=…,label=…",
    },
  );
}

/** Names that a message has room for. */
const NAMED = 8;

function shortList(names: readonly string[]): string {
  return names.length <= NAMED ? names.join(", ") : `${names.slice(0, NAMED).join(", ")}, … (${names.length})`;
}
