import { type CellOutcome, changedBy, deltaBytes, deltaSize, forgettingMonitor, type Metric, type Retention } from "@lfm/core";
import { type ClassificationSet, loadClassification } from "@lfm/data";
import { withClassifier } from "@lfm/models";
import type { TuningOutput } from "@lfm/tuning";
import type { CellContext, CellMethod, Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { learns } from "../tuning/learns.js";
import {
  accuracy,
  epochOrder,
  loadSentenceModel,
  MINILM,
  nearestMeanAccuracy,
  realFolders,
  sentenceTask,
  spread,
  tokenRows,
} from "./sentence-model.js";

/** A set of sentences that MiniLM is tuned on. */
export interface SentenceProblem {
  readonly set: ClassificationSet["name"];
  /** Tokens per sentence, special ones included; longer ones are cut. */
  readonly maxLength: number;
}

export const sentenceProblems = {
  clinc150: { set: "clinc150", maxLength: 32 },
  sst2: { set: "sst2", maxLength: 64 },
} as const satisfies Readonly<Record<string, SentenceProblem>>;

/** Names of the fresh head's parameters, which every method trains besides its own. */
const HEAD = ["classifier.weight", "classifier.bias"];

/** The sentences of BANKING77 that tell what is left of the encoder as it came: 5 per class shown, 500 others asked. */
const LEFT = { set: "banking77", shownPerClass: 5, asked: 500, maxLength: 64 } as const;

/** MiniLM with a fresh head on the mean of its last states, tuned by the cell's method, measured on the test split. */
async function tuneSentences(cell: CellMethod, context: CellContext, problem: SentenceProblem): Promise<CellOutcome> {
  const { data } = realFolders(context);
  const { model: encoder, tokenizer, hash } = await loadSentenceModel(context);
  const { labels, splits } = await context.shared(`minilm/${problem.set}`, () => loadClassification(problem.set, { folder: data }));
  const split = (name: "train" | "val" | "test") => tokenRows(tokenizer, splits[name], problem.maxLength);
  const base = withClassifier(encoder, labels.length, context.seed, { pooling: "mean" });
  const asked = new Set<number>();
  const train = split("train");
  const task = sentenceTask(problem.set, train, epochOrder(train.rows.length, context.seed), asked);
  const started = performance.now();
  const { delta, model, curves } = await runByKind<TuningOutput>(`minilm-${problem.set}`, cell, learns(base, task, hash, HEAD), context);
  const trained = performance.now();
  const [test, validation] = [split("test"), split("val")];
  const fraction = (value: number, note: string): Metric => ({ value, unit: "fraction", higherIsBetter: true, note });
  const metrics = {
    accuracy: fraction(await accuracy(context, model, test), `${test.rows.length} test sentences, ${labels.length} classes`),
    validationAccuracy: fraction(
      await accuracy(context, model, validation),
      `${validation.rows.length} sentences that settings are chosen on`,
    ),
    trainedShare: {
      value: deltaSize(delta) / Object.values(base.params).reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0),
      unit: "fraction",
      higherIsBetter: false,
      note: "parameters learned, the head's included / parameters of encoder and head",
    },
  };
  const retention = await encoderRetention(context, model);
  return {
    metrics,
    retention,
    trainableParams: deltaSize(delta),
    bytes: deltaBytes(delta),
    queries: 0,
    dataUsed: asked.size,
    monitors: [forgettingMonitor(retention, changedBy(delta, base))],
    curves,
    phasesMs: { train: trained - started, evaluate: performance.now() - trained },
    modelHash: hash,
  };
}

/** How well the encoder's vectors still tell intents apart that it was not tuned on. */
async function encoderRetention(context: CellContext, model: TuningOutput["model"]): Promise<Retention> {
  const { data } = realFolders(context);
  const { model: encoder, tokenizer } = await loadSentenceModel(context);
  const { shown, asked } = await context.shared(`minilm/left/${LEFT.set}`, async () => {
    const { splits } = await loadClassification(LEFT.set, { folder: data });
    const seen = new Map<number, number>();
    const first = splits.train.filter(({ label }) => {
      const n = seen.get(label) ?? 0;
      seen.set(label, n + 1);
      return n < LEFT.shownPerClass;
    });
    return {
      shown: tokenRows(tokenizer, first, LEFT.maxLength),
      asked: tokenRows(tokenizer, spread(splits.test, LEFT.asked), LEFT.maxLength),
    };
  });
  const before = await context.shared(`minilm/left/${LEFT.set}/before`, () => nearestMeanAccuracy(context, encoder, shown, asked));
  const after = await nearestMeanAccuracy(context, model, shown, asked);
  const of = `nearest class mean on BANKING77, ${LEFT.shownPerClass} sentences per class shown, ${LEFT.asked} asked`;
  return { of, before, after, kept: after / before };
}

function scenario(id: keyof typeof sentenceProblems, asks: string): Scenario {
  return {
    id,
    paradigm: "tuning",
    model: MINILM,
    summary: `${asks}; share of right answers on the test split.`,
    headline: "accuracy",
    access: ["weights", "grad", "activations", "logits", "labels"],
    requires: ["data", "models"],
    run: (cell, context) => tuneSentences(cell, context, sentenceProblems[id]),
  };
}

export const clinc150 = scenario("clinc150", "Which of 150 intents does a query of CLINC150 have (queries of no intent left out)");
export const sst2 = scenario("sst2", "Is a sentence of a film review positive (SST-2, sentence level)");
