import {
  adam,
  type CellOutcome,
  crossEntropy,
  forgettingMonitor,
  type HostTensor,
  i32,
  linear,
  type Metric,
  type Model,
  Rng,
  runMethod,
  sym,
  type Weights,
} from "@lfm/core";
import { type ClassificationSet, loadClassification } from "@lfm/data";
import { withClassifier } from "@lfm/models";
import type { MergeInputs, MergeOutput } from "@lfm/reuse";
import { fit, fitContext, trainableParams } from "@lfm/train";
import { full, type TuningOutput } from "@lfm/tuning";
import type { CellContext, Scenario } from "../../scenario.js";
import {
  accuracy,
  epochOrder,
  loadSentenceModel,
  MINILM,
  realFolders,
  sentenceTask,
  sentenceVectors,
  spread,
  type TokenRows,
  tokenRows,
} from "./sentence-model.js";

/** What is done to make and measure the models that are merged. */
export interface DomainSettings {
  readonly sets: readonly ClassificationSet["name"][];
  readonly maxLength: number;
  /** Training sentences whose vectors a head is fitted on, and its steps. */
  readonly headExamples: number;
  readonly headSteps: number;
  /** Steps of each fine-tune, and its peak step size. */
  readonly steps: number;
  readonly lr: number;
  /** Sentences per set that λ is chosen on, and that are tested. */
  readonly validation: number;
  readonly test: number;
}

export const domainSettings: DomainSettings = {
  sets: ["banking77", "clinc150", "snips"],
  maxLength: 32,
  headExamples: 1500,
  headSteps: 200,
  steps: 100,
  lr: 1e-4,
  validation: 200,
  test: 1000,
};

/** Scales λ that are tried on validation sentences. */
const LAMBDAS = [0.2, 0.4, 0.6, 0.8, 1];

/** One set: the encoder as it came under a head of the set's own, and the encoder tuned on the set under the same head. */
interface Domain {
  readonly name: string;
  readonly base: Model;
  readonly tuned: Readonly<Record<string, HostTensor>>;
  readonly validation: TokenRows;
  readonly test: TokenRows;
  /** On `test`: the untouched encoder, the tuned one. */
  readonly baseAccuracy: number;
  readonly tunedAccuracy: number;
}

/**
 * As in task arithmetic (arXiv 2212.04089): the head is fitted on the frozen encoder and then stays as it is,
 * so that all of a task is in the encoder's weights and a merged encoder can be read by every head.
 */
async function makeDomain(name: ClassificationSet["name"], settings: DomainSettings, context: CellContext): Promise<Domain> {
  const { data } = realFolders(context);
  const { model: encoder, tokenizer, hash } = await loadSentenceModel(context);
  const { labels, splits } = await loadClassification(name, { folder: data });
  const rows = (split: "train" | "val" | "test", most?: number): TokenRows =>
    tokenRows(tokenizer, most === undefined ? splits[split] : spread(splits[split], most), settings.maxLength);
  const headed = withClassifier(encoder, labels.length, context.seed, { pooling: "mean" });
  const head = await fitHead(headed, encoder, rows("train", settings.headExamples), settings.headSteps, context);
  const still = Object.fromEntries(Object.keys(head).map((n) => [n, { ...headed.info.params[n]!, trainable: false }]));
  const base: Model = {
    ...headed,
    info: { ...headed.info, params: { ...headed.info.params, ...still } },
    params: { ...headed.params, ...head },
  };
  const task = sentenceTask(name, rows("train"), context.seed, new Set());
  const { delta } = (await runMethod(
    full,
    { model: base, task, parent: hash },
    { steps: settings.steps, lr: settings.lr, schedule: "linear", warmup: Math.floor(settings.steps / 10), clipNorm: 1 },
    { ...context, access: ["weights", "grad"] },
  )) as TuningOutput;
  const test = rows("test", settings.test);
  return {
    name,
    base,
    tuned: delta.tensors,
    validation: rows("val", settings.validation),
    test,
    baseAccuracy: await accuracy(context, base, test),
    tunedAccuracy: await accuracy(context, withEncoder(base, delta.tensors), test),
  };
}

/** The set's head under other weights of the encoder. */
const withEncoder = (model: Model, encoder: Weights): Model => ({ ...model, params: { ...model.params, ...encoder } });

/** Softmax regression on the frozen encoder's vectors, started from the fresh head. */
async function fitHead(
  headed: Model,
  encoder: Model,
  train: TokenRows,
  steps: number,
  context: CellContext,
): Promise<Readonly<Record<string, HostTensor>>> {
  const vectors = await sentenceVectors(context, encoder, train.rows, { unitLength: false });
  const width = vectors[0]!.length;
  const order = epochOrder(vectors.length, context.seed, 128);
  const { params } = await fit({
    ...fitContext({ ...context, rng: new Rng(context.seed) }, "head"),
    trainable: trainableParams(headed, ["classifier.weight", "classifier.bias"]),
    batch: { x: { dtype: "f32", shape: [sym("n"), width] }, labels: { dtype: "i32", shape: [sym("n")] } },
    batches: (step) => {
      const chosen = order(step);
      const x = new Float32Array(chosen.length * width);
      chosen.forEach((at, i) => {
        x.set(vectors[at]!, i * width);
      });
      return { x: { dtype: "f32", shape: [chosen.length, width], data: x }, labels: i32(chosen.map((at) => train.labels[at]!)) };
    },
    loss: (p, b) => ({ loss: crossEntropy(linear(b.x, p["classifier.weight"]!, p["classifier.bias"]!), b.labels) }),
    optimizer: adam(),
    lr: 0.01,
    steps,
    threads: 1,
  });
  return params;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Merges the tuned encoders by the cell's method and asks every set's head about its own set. */
export const mergeDomains =
  (settings: DomainSettings): Scenario["run"] =>
  async ({ method, config }, context): Promise<CellOutcome> => {
    const { model: encoder, hash } = await loadSentenceModel(context);
    const started = performance.now();
    const domains: Domain[] = [];
    for (const name of settings.sets) {
      const key = `minilm/domains/${name}/${JSON.stringify(settings)}/${context.seed}`;
      domains.push(await context.shared(key, () => makeDomain(name, settings, context)));
    }
    const made = performance.now();
    const inputs: MergeInputs = { base: trainableParams(encoder), models: Object.fromEntries(domains.map((d) => [d.name, d.tuned])) };
    const merge = async (options: Readonly<Record<string, unknown>>): Promise<MergeOutput["params"]> =>
      ((await runMethod(method, inputs, options, context)) as MergeOutput).params;
    const ask = async (params: Weights, what: "validation" | "test"): Promise<number[]> => {
      const found: number[] = [];
      for (const d of domains) found.push(await accuracy(context, withEncoder(d.base, params), d[what]));
      return found;
    };
    const tried: [number, number][] = [];
    let best: { readonly params: Weights; readonly lambda: number | null } = { params: {}, lambda: null };
    if ("lambda" in method.config.shape) {
      for (const lambda of LAMBDAS) {
        const params = await merge({ ...config, lambda });
        const value = mean(await ask(params, "validation"));
        if (tried.every(([, earlier]) => value > earlier)) best = { params, lambda };
        tried.push([lambda, value]);
      }
    } else best = { params: await merge(config), lambda: null };
    const merged = performance.now();
    const each = await ask(best.params, "test");
    const fraction = (value: number, note: string): Metric => ({ value, unit: "fraction", higherIsBetter: true, note });
    const [before, after] = [mean(domains.map((d) => d.tunedAccuracy)), mean(each)];
    const retention = { of: "accuracy of the models that were merged, each on its own set", before, after, kept: after / before };
    return {
      metrics: {
        accuracy: fraction(after, `mean over ${domains.length} sets of one merged encoder under the heads of each`),
        ...Object.fromEntries(domains.map((d, i) => [`${d.name}Accuracy`, fraction(each[i]!, `${d.test.rows.length} test sentences`)])),
        tunedAccuracy: fraction(before, "mean of the models that were merged, each on its own set"),
        ...Object.fromEntries(domains.map((d) => [`${d.name}TunedAccuracy`, fraction(d.tunedAccuracy, "the model tuned on this set")])),
        baseAccuracy: fraction(mean(domains.map((d) => d.baseAccuracy)), "mean of the untouched encoder under the same heads"),
        ...Object.fromEntries(domains.map((d) => [`${d.name}BaseAccuracy`, fraction(d.baseAccuracy, "the untouched encoder")])),
        ...(best.lambda === null
          ? {}
          : {
              lambda: {
                value: best.lambda,
                unit: "ratio",
                higherIsBetter: true,
                note: `best of ${LAMBDAS.join(", ")} on validation sentences`,
              },
            }),
      },
      retention,
      trainableParams: 0,
      bytes: Object.values(best.params).reduce((n, t) => n + 4 * t.shape.reduce((a, b) => a * b, 1), 0),
      queries: 0,
      // Of the merge itself: nothing, or the sentences that its λ was chosen on.
      dataUsed: best.lambda === null ? 0 : domains.reduce((n, d) => n + d.validation.rows.length, 0),
      monitors: [forgettingMonitor(retention)],
      curves: tried.length > 0 ? { "validation accuracy by λ": tried } : {},
      phasesMs: { models: made - started, merge: merged - made, test: performance.now() - merged },
      modelHash: hash,
    };
  };

export const minilmDomains: Scenario = {
  id: "minilm-domains",
  paradigm: "reuse",
  model: MINILM,
  summary:
    "MiniLM tuned on BANKING77, on CLINC150 and on SNIPS, the three encoders merged into one: mean accuracy under each set's own head.",
  headline: "accuracy",
  access: ["weights", "logits", "labels"],
  requires: ["data", "models"],
  run: mergeDomains(domainSettings),
};
