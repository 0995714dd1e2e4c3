import { type ColumnChoice, readExamples } from "@lfm/data";
import type { TextRules } from "@lfm/models";
import { languageModelTask, type PredictedBatch, type ValidationSet } from "@lfm/train";
import {
  type AnsweredRows,
  answeredRows,
  answeredTask,
  type Goal,
  inOrder,
  languageBatch,
  learnedRows,
  predictedRows,
  type TokenRow,
} from "@lfm/tuning";
import { requireText } from "./models.js";
import { type ConfiguredObjective, type PreferenceRows, preferenceRows, preferenceTaskOf } from "./preferences.js";
import type { Sources } from "./sources.js";

/** Held-out examples as a model reads them. */
export type HeldOut =
  | { readonly kind: "language"; readonly rows: readonly TokenRow[] }
  | { readonly kind: "answers"; readonly goal: Goal; readonly rows: AnsweredRows }
  | { readonly kind: "preferences"; readonly chosen: ConfiguredObjective; readonly preferences: PreferenceRows };

/** The examples of --valid, looked through once and before any work; undefined where none are given. */
export function openHeldOutRows(s: Sources): Promise<HeldOut | undefined> {
  return s.once("valid", async () => {
    const file = s.text("valid");
    if (file === undefined) return undefined;
    const [reader, goal] = [await s.reader(), await s.goal()];
    const { objective, config } = s.task;
    if (objective) {
      const rules = requireText(reader);
      const preferences = preferenceRows(file, await s.columns(), objective, rules, s.batching.maxLength, (m) => s.job.log(m));
      return { kind: "preferences", chosen: { objective, config }, preferences };
    }
    return heldOutRows(file, await s.columns(), goal, requireText(reader), s.batching.maxLength, (m) => s.job.log(m));
  });
}

/** Examples of a file for a goal, or for a language model. @throws {LfmError} FILE_IO, FILE_FORMAT, CONFIG_INVALID */
export function heldOutRows(
  file: string,
  choice: ColumnChoice,
  goal: Goal | undefined,
  rules: TextRules,
  maxLength: number,
  say: (message: string) => void,
): Exclude<HeldOut, { readonly kind: "preferences" }> {
  const examples = readExamples(file, choice);
  if (!goal) return { kind: "language", rows: learnedRows(examples, rules, { maxLength }, say) };
  return { kind: "answers", goal, rows: answeredRows(examples, goal) };
}

/** The examples of --valid in their order, each once. Nothing where none are given. */
export async function openValidation(s: Sources): Promise<ValidationSet | undefined> {
  const held = await openHeldOutRows(s);
  return held === undefined ? undefined : inTheirOrder("validation", held, s);
}

/** The same of --retained: what the model knew before. */
export async function openRetained(s: Sources): Promise<ValidationSet | undefined> {
  const file = s.text("retained");
  if (file === undefined) return undefined;
  const [reader, goal] = [await s.reader(), await s.goal()];
  const held = heldOutRows(file, await s.columns(), goal, requireText(reader), s.batching.maxLength, (m) => s.job.log(m));
  return inTheirOrder("retained", held, s);
}

/** Examples in their order, each once. */
export async function inTheirOrder(name: string, held: HeldOut, s: Sources): Promise<ValidationSet> {
  const o = s.batching;
  if (held.kind === "language") {
    const { rows } = held;
    const { batch, perEpoch } = inOrder(rows.length, o.batchSize);
    const batches = (n: number): PredictedBatch => languageBatch(batch(n).map((i) => rows[i]!));
    return { task: languageModelTask(name, batches, perEpoch, predictedRows(rows)) };
  }
  if (held.kind === "preferences") {
    const order = inOrder(held.preferences.rows.length, o.batchSize);
    return { task: preferenceTaskOf(held.chosen, held.preferences, order) };
  }
  const { tokenizer } = requireText(await s.reader());
  return { task: answeredTask(name, held.rows, tokenizer, o, inOrder(held.rows.texts.length, o.batchSize)) };
}
