import { type ColumnChoice, readJudged, readPairs } from "@lfm/data";
import type { TextRules } from "@lfm/models";
import type { LearningTask, Sampler } from "@lfm/train";
import { type AnyObjective, type JudgedRow, objectiveTask, type PairRow, requireLearner, samplerOf } from "@lfm/tuning";
import { requireText } from "./models.js";
import type { Sources } from "./sources.js";

/** Preferences of a file as a model reads them. */
export type PreferenceRows =
  | { readonly kind: "pairs"; readonly rows: readonly PairRow[] }
  | { readonly kind: "judged"; readonly rows: readonly JudgedRow[] };

/** An objective with its options. */
export interface ConfiguredObjective {
  readonly objective: AnyObjective;
  readonly config: Readonly<Record<string, unknown>>;
}

/** The preferences of a file as an objective learns from them. @throws {LfmError} FILE_IO, FILE_FORMAT, CONFIG_INVALID */
export function preferenceRows(
  file: string,
  choice: ColumnChoice,
  objective: Pick<AnyObjective, "examples" | "rows">,
  rules: TextRules,
  maxLength: number,
  say: (message: string) => void,
): PreferenceRows {
  const preferences = objective.examples === "pairs" ? readPairs(file, choice) : readJudged(file, choice);
  return { kind: preferences.kind, rows: objective.rows(preferences, rules, maxLength, say) };
}

/** The task of such rows. */
export function preferenceTaskOf(
  { objective, config }: ConfiguredObjective,
  { rows }: PreferenceRows,
  order: Pick<Sampler, "batch" | "perEpoch">,
): LearningTask {
  return objectiveTask(objective, config, rows, order);
}

/** The file of --data as --objective learns from it, looked through once. @throws {LfmError} CAPABILITY_MISSING for a model that it does not learn with */
export function openPreferences(objective: AnyObjective, s: Sources): Promise<PreferenceRows> {
  return s.once("preferences", async () => {
    const [reader, choice] = [await s.reader(), await s.columns()];
    // A score's head is put on when the model is opened.
    if (objective.learner === "language") requireLearner(objective, reader.model);
    return preferenceRows(s.text("data")!, choice, objective, requireText(reader), s.batching.maxLength, (m) => s.job.log(m));
  });
}

/** The task of --objective. */
export async function openPreferenceTask(chosen: ConfiguredObjective, s: Sources): Promise<LearningTask> {
  const preferences = await openPreferences(chosen.objective, s);
  return preferenceTaskOf(chosen, preferences, samplerOf(preferences.rows.length, s.batching));
}
