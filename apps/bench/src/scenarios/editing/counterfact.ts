import {
  type Delta,
  deltaBytes,
  deltaSize,
  forgettingMonitor,
  LfmError,
  type Metric,
  makeDelta,
  replacedParameters,
  throwIfAborted,
} from "@lfm/core";
import { loadZoo, type Zoo } from "@lfm/models/zoo";
import type { Scenario } from "../../scenario.js";
import { recallPrompts, retentionOf } from "../zoo/retention.js";
import { copyOf, openEditor, sameBits, sameWeights } from "./open-editor.js";
import { compileAnswers, type EditedAnswers, type EditScores, scoreEdit } from "./probes.js";
import { editRecords, editRequest } from "./requests.js";

/** Edits of a cell, each made on the untouched model. */
const EDITS = 50;
/** So many of the edits are also asked for facts that have nothing to do with them. */
const WATCHED_EDITS = 10;
const UNRELATED_FACTS = 64;

const nothing = makeDelta({ id: "none", paradigm: "editing", delta: replacedParameters }, {}, {});

export const counterfact: Scenario = editingScenario("test");

/** @param people whose facts are edited: settings are chosen on "development" */
export function editingScenario(people: "test" | "development"): Scenario {
  return {
    id: "counterfact",
    paradigm: "editing",
    model: "zoo-lm",
    summary: `${EDITS} single edits of facts that the model knows, each from the untouched model, measured as CounterFact and KnowEdit; score is the mean share of right words over the edit, its paraphrases, people with the same value, other facts of the person, and what follows from the new value.`,
    headline: "score",
    access: ["weights", "grad", "activations", "logits", "tokenizer"],
    run: async (cell, context) => {
      const { engine, seed, signal } = context;
      const zoo = await context.shared("zoo", loadZoo);
      const { world } = zoo;
      const records = await context.shared(`counterfact ${people} ${seed}`, () => editRecords(zoo, engine, { seed, count: EDITS, people }));
      const unrelated = recallPrompts(world).slice(0, UNRELATED_FACTS);
      const clean = await compileAnswers(engine, zoo.lm, world, nothing);
      const editor = await openEditor(zoo, cell, context);
      const opened: EditedAnswers[] = [];
      try {
        const before = await clean.ask(
          unrelated.map((p) => p.prompt),
          nothing,
        );
        const weights = copyOf(zoo.lm);
        const scores: EditScores[] = [];
        const baseScores: EditScores[] = [];
        const recalls: number[] = [];
        let learned: Delta = nothing;
        let [editMs, firstMs] = [0, 0];
        for (const [i, record] of records.entries()) {
          throwIfAborted(signal, `[@lfm/bench] edit ${i}`);
          const request = editRequest(world, record);
          const started = performance.now();
          learned = (await editor.edit([request])).delta;
          const ms = performance.now() - started;
          if (i === 0) firstMs = ms;
          else editMs += ms;
          if (opened.length === 0) opened.push(await compileAnswers(engine, zoo.lm, world, learned));
          scores.push(await scoreEdit(world, record, opened[0]!, learned));
          baseScores.push(await scoreEdit(world, record, clean, nothing));
          if (i < WATCHED_EDITS) recalls.push(await recallAfter(zoo, record.requested_rewrite.subject, unrelated, opened[0]!, learned));
          context.progress({
            phase: "edits",
            done: i + 1,
            total: records.length,
            unit: "edit",
            values: { efficacy: scores.at(-1)!.efficacy },
          });
        }
        const after = await clean.ask(
          unrelated.map((p) => p.prompt),
          nothing,
        );
        const reverted = before.every((row, i) => sameBits(row, after[i]!)) && sameWeights(zoo.lm, weights);
        if (!reverted)
          throw new LfmError("INTERNAL", `[@lfm/bench] ${cell.method.id}: the model is not what it was after its edits were dropped`);
        const recalledBefore = await recallAfter(zoo, "", unrelated, clean, nothing);
        const retention = {
          ...retentionOf(recalledBefore, recalls.reduce((a, b) => a + b, 0) / recalls.length),
          of: `recall of ${UNRELATED_FACTS} facts about other people`,
        };
        return {
          metrics: {
            ...metricsOf(scores, baseScores),
            baseEfficacy: points(mean(baseScores.map((s) => s.efficacy)), "the untouched model: p(new) > p(true) after the prompt"),
            reverted: {
              value: 1,
              unit: "fraction",
              higherIsBetter: true,
              note: "weights and answers after the edits are dropped, bit for bit",
            },
            editMs: {
              value: editMs / Math.max(1, records.length - 1),
              unit: "ms",
              higherIsBetter: false,
              note: "one edit, the first left out, which compiles and takes statistics",
            },
          },
          retention,
          trainableParams: deltaSize(learned),
          bytes: deltaBytes(learned),
          queries: 0,
          dataUsed: 1,
          monitors: [forgettingMonitor(retention)],
          curves: {},
          phasesMs: { prepare: firstMs, edit: editMs },
          modelHash: zoo.lmHash,
        };
      } finally {
        await editor.dispose();
        await clean.dispose();
        for (const answers of opened) await answers.dispose();
      }
    },
  };
}

/** Names of what an edit should say; the score is their mean. */
const EXACT = ["efficacyExact", "paraphraseExact", "neighbourhoodExact", "locality", "portability"] as const;

function metricsOf(scores: readonly EditScores[], untouched: readonly EditScores[]): Record<string, Metric> {
  const over = (all: readonly EditScores[], key: keyof EditScores): number =>
    mean(all.map((s) => s[key]).filter((v): v is number => v !== undefined));
  const of = (key: keyof EditScores): number => over(scores, key);
  const score = (all: readonly EditScores[]): number => mean(EXACT.map((key) => over(all, key)));
  const three = [of("efficacy"), of("paraphrase"), of("neighbourhood")];
  const harmonic = three.some((v) => v === 0) ? 0 : 3 / three.reduce((s, v) => s + 1 / v, 0);
  return {
    // CounterFact's own mean asks only which of two words is likelier, and is at 100 where consequences still tell of the old value.
    score: {
      ...points(score(scores), "mean of exact efficacy, paraphrase and neighbourhood, locality and portability"),
      base: score(untouched),
    },
    counterfactScore: points(harmonic, "harmonic mean of efficacy, paraphrase and neighbourhood"),
    efficacy: points(three[0]!, "p(new) > p(true) after the prompt of the edit"),
    paraphrase: points(three[1]!, "p(new) > p(true) after other forms of the question"),
    neighbourhood: points(three[2]!, "p(true) > p(new) for other people with the same value"),
    efficacyExact: points(of("efficacyExact"), "the new value is the most probable word"),
    paraphraseExact: points(of("paraphraseExact"), "the new value is the most probable word after other forms"),
    neighbourhoodExact: points(of("neighbourhoodExact"), "the true value is the most probable word for the neighbours"),
    portability: points(of("portability"), "the consequence in a second hop is the most probable word"),
    locality: points(of("locality"), "other relations of the same person are answered right"),
  };
}

function points(value: number, note: string): Metric {
  return { value, unit: "points", higherIsBetter: true, note };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** Share of facts about others than the edited person whose value is the most probable word. */
async function recallAfter(
  { world }: Zoo,
  edited: string,
  facts: ReturnType<typeof recallPrompts>,
  answers: EditedAnswers,
  delta: Delta,
): Promise<number> {
  const others = facts.filter((f) => f.fact.subject !== edited);
  const said = await answers.ask(
    others.map((f) => f.prompt),
    delta,
  );
  const right = others.filter((f, i) => {
    const row = said[i]!;
    const value = row[world.vocabulary.id(f.answer)]!;
    return row.every((v) => v <= value);
  });
  return right.length / others.length;
}
