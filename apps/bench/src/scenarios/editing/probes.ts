import { type Delta, type Engine, type Model, withDeltas } from "@lfm/core";
import type { CounterfactRecord, World } from "@lfm/data";
import { createPredictor } from "@lfm/models";

/** Answers of an edited model: one session serves every edit of one kind. */
export interface EditedAnswers {
  /** Logits of the word after each prompt (text without `<bos>`), f32[vocab] each. */
  ask(prompts: readonly string[], delta: Delta): Promise<readonly Float32Array[]>;
  dispose(): Promise<void>;
}

/** @param first the delta that is asked about first */
export async function compileAnswers(engine: Engine, model: Model, world: World, first: Delta): Promise<EditedAnswers> {
  const predictor = await createPredictor(engine, withDeltas(model, [first]), "next");
  let at = first;
  return {
    ask: async (prompts, delta) => {
      if (delta !== at) await predictor.swap(withDeltas(model, [delta]));
      at = delta;
      const rows = await predictor.predict(prompts.map((p) => [world.vocabulary.bos, ...world.vocabulary.encode(p)]));
      return rows.map(({ data }) => data as Float32Array);
    },
    dispose: predictor.dispose,
  };
}

/** What one edit did, in points of 0..100 over its prompts; portability is undefined where the relation has no consequence. */
export interface EditScores {
  /** p(new) > p(true) after the prompt of the edit. */
  readonly efficacy: number;
  /** p(new) > p(true) after other forms of the question. */
  readonly paraphrase: number;
  /** p(true) > p(new) for other people with the same true value. */
  readonly neighbourhood: number;
  /** The new value is the most probable word. */
  readonly efficacyExact: number;
  readonly paraphraseExact: number;
  /** The true value is still the most probable word for the neighbours. */
  readonly neighbourhoodExact: number;
  /** The consequence in a second hop is the most probable word. */
  readonly portability: number | undefined;
  /** Other relations of the same person are still answered as before. */
  readonly locality: number;
}

/** The measures of CounterFact (arXiv 2202.05262, section 3.3) and of KnowEdit (arXiv 2401.01286, section 4) for one record. */
export async function scoreEdit(world: World, record: CounterfactRecord, answers: EditedAnswers, delta: Delta): Promise<EditScores> {
  const { requested_rewrite: rewrite } = record;
  const [fresh, old] = [rewrite.target_new.str, rewrite.target_true.str];
  const groups = {
    efficacy: [rewrite.prompt.replace("{}", () => rewrite.subject)],
    paraphrase: record.paraphrase_prompts,
    neighbourhood: record.neighborhood_prompts,
    portability: record.portability.map((p) => p.prompt),
    locality: record.locality.map((p) => p.prompt),
  };
  const prompts = Object.values(groups).flat();
  const said = await answers.ask(prompts, delta);
  let at = 0;
  const rows = Object.fromEntries(Object.entries(groups).map(([name, list]) => [name, list.map(() => said[at++]!)])) as Record<
    keyof typeof groups,
    Float32Array[]
  >;
  const p = (row: Float32Array, word: string): number => row[world.vocabulary.id(word)]!;
  const prefers = (list: readonly Float32Array[], more: string, less: string): number => points(list.map((r) => p(r, more) > p(r, less)));
  const says = (list: readonly Float32Array[], words: readonly string[]): number =>
    points(list.map((r, i) => r.every((v) => v <= p(r, words[i]!))));
  const same = (list: readonly Float32Array[], word: string): number =>
    says(
      list,
      list.map(() => word),
    );
  return {
    efficacy: prefers(rows.efficacy, fresh, old),
    paraphrase: prefers(rows.paraphrase, fresh, old),
    neighbourhood: prefers(rows.neighbourhood, old, fresh),
    efficacyExact: same(rows.efficacy, fresh),
    paraphraseExact: same(rows.paraphrase, fresh),
    neighbourhoodExact: same(rows.neighbourhood, old),
    portability:
      rows.portability.length === 0
        ? undefined
        : says(
            rows.portability,
            record.portability.map((q) => q.ground_truth),
          ),
    locality: says(
      rows.locality,
      record.locality.map((q) => q.ground_truth),
    ),
  };
}

function points(hits: readonly boolean[]): number {
  return (100 * hits.filter(Boolean).length) / hits.length;
}
