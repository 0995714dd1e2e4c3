import type { Engine, Metric } from "@lfm/core";
import { createAnswerScorer, type KnownFact, knownFacts } from "@lfm/editing";
import { points } from "./edit-metrics.js";
import type { EditedBase } from "./evaluate-edits.js";
import type { RecordEdit } from "./record-edits.js";

/** An edit whose fact a model was asked for. */
export interface KnownEdit {
  readonly edit: RecordEdit;
  readonly fact: KnownFact;
}

/**
 * Which facts a model knows before they are edited; records that do not say what is true are left out.
 * @param all edits of the same file, which say what objects a relation has
 */
export async function knownOf(
  { model, rules }: EditedBase,
  asked: readonly RecordEdit[],
  all: readonly RecordEdit[],
  { engine, signal }: { readonly engine: Engine; readonly signal?: AbortSignal },
): Promise<readonly KnownEdit[]> {
  const factsOf = (edits: readonly RecordEdit[]) =>
    edits.flatMap(({ record: { prompt, truth, relation = "" } }) =>
      truth[0] === undefined ? [] : [{ prompt, object: truth[0], relation }],
    );
  const withTruth = asked.filter((edit) => edit.record.truth.length > 0);
  const scorer = await createAnswerScorer(engine, model, { batchSize: 16 });
  try {
    const facts = await knownFacts(scorer, rules, factsOf(withTruth), factsOf(all), signal);
    return withTruth.map((edit, i) => ({ edit, fact: facts[i]! }));
  } finally {
    await scorer.dispose();
  }
}

/** Shares of what was asked; nothing where no record says what is true. */
export function knownMetrics(found: readonly KnownEdit[]): Record<string, Metric> {
  if (found.length === 0) return {};
  const share = (of: (fact: KnownFact) => boolean): number => (100 * found.filter(({ fact }) => of(fact)).length) / found.length;
  return {
    namedFirst: points(
      share((f) => f.first),
      `of ${found.length} facts of the file, those whose object the model names first`,
    ),
    knownFacts: points(
      share((f) => f.known),
      "those, and the ones whose object stands among the first ten of fifty objects or more of the relation",
    ),
  };
}
