import { type CellOutcome, deltaBytes, deltaSize, i32, type Metric, padRows, slice } from "@lfm/core";
import { pool } from "@lfm/models";
import { type Batch, defineTask, joinScored, type LearningTask, type Scored, tokenClassification, withBatches } from "@lfm/train";
import type { TuningOutput } from "@lfm/tuning";
import type { Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { learns } from "../tuning/learns.js";
import { type DomainSettings, domainSettings } from "./domains.js";
import { accuracies, loadNamedSet, loadStillWorded, type NamedSet, nameLogits, withNames } from "./named-sets.js";
import { BATCH, MINILM, similarLengthOrder } from "./sentence-model.js";

/** Tunes one encoder on all sets by the cell's method. */
export const tuneSets =
  (settings: DomainSettings): Scenario["run"] =>
  async (cell, context): Promise<CellOutcome> => {
    const { model: encoder, hash } = await loadStillWorded(context);
    const sets: NamedSet[] = [];
    for (const name of settings.sets) sets.push(await loadNamedSet(name, settings, context));
    const asked = sets.map(() => new Set<number>());
    const started = performance.now();
    const learning = learns(encoder, atOnce(sets, context.seed, asked), hash);
    const { delta, model, curves } = await runByKind<TuningOutput>("minilm-sets", cell, learning, context);
    const trained = performance.now();
    const each = await accuracies(context, sets, "test", (set) => withNames(model, set));
    const fraction = (value: number, note: string): Metric => ({ value, unit: "fraction", higherIsBetter: true, note });
    return {
      metrics: {
        accuracy: fraction(each.reduce((a, b) => a + b, 0) / sets.length, `mean over ${sets.length} sets`),
        ...Object.fromEntries(sets.map((s, i) => [`${s.name}Accuracy`, fraction(each[i]!, `${s.test.rows.length} test sentences`)])),
      },
      retention: null,
      trainableParams: deltaSize(delta),
      bytes: deltaBytes(delta),
      queries: 0,
      dataUsed: asked.reduce((n, seen) => n + seen.size, 0),
      monitors: [],
      curves,
      phasesMs: { train: trained - started, evaluate: performance.now() - trained },
      modelHash: hash,
    };
  };

/** One encoder is tuned on all sets at once: what merging their specialists is measured against. */
export const minilmSets: Scenario = {
  id: "minilm-sets",
  paradigm: "tuning",
  model: MINILM,
  summary:
    "One MiniLM is tuned on BANKING77, CLINC150, SNIPS and SST-2 at once, a quarter of every batch from each, under heads that are the names of the classes and never learn; the table of words stays too. Mean accuracy over the sets' whole test splits.",
  headline: "accuracy",
  access: ["weights", "grad", "activations", "logits", "labels"],
  requires: ["data", "models"],
  run: tuneSets(domainSettings),
};

/** Batches that hold equally many sentences of every set, one set after the other; the mean of the sets' cross entropies. */
function atOnce(sets: readonly NamedSet[], seed: number, asked: readonly Set<number>[]): LearningTask {
  const share = Math.floor(BATCH / sets.length);
  // The same seed sorts every set's pools alike: what meets in a batch is of similar length.
  const orders = sets.map((set) => similarLengthOrder(set.train.rows, seed, share));
  const batches = (step: number): Batch => {
    const chosen = orders.map((order) => order(step));
    chosen.forEach((rows, s) => {
      for (const i of rows) asked[s]!.add(i);
    });
    const rows = chosen.flatMap((own, s) => own.map((i) => sets[s]!.train.rows[i]!));
    return { ...padRows(rows), labels: i32(chosen.flatMap((own, s) => own.map((i) => sets[s]!.train.labels[i]!))) };
  };
  const shape = defineTask({
    ...tokenClassification(sets.map((set) => set.name).join("+")),
    scored: (outputs, { mask, labels }) => {
      const vectors = pool(outputs, "mean", mask);
      const answers = (set: NamedSet, s: number): Scored => ({
        logits: nameLogits(slice(vectors, 0, s * share, share), set),
        targets: slice(labels!, 0, s * share, share),
      });
      return joinScored(sets.map(answers));
    },
  });
  return withBatches(shape, batches);
}
