import {
  type CellOutcome,
  forgettingMonitor,
  type HostTensor,
  type Metric,
  type Model,
  membersInput,
  namedWeightsInput,
  parentInput,
  provider,
  Rng,
  runMethod,
  sizeOf,
  takes,
  throwIfAborted,
  trainableParams,
  weightsInput,
} from "@lfm/core";
import type { EnsembleOutput, MergeOutput } from "@lfm/reuse";
import { full, type TuningOutput } from "@lfm/tuning";
import type { CellContext, CellMethod, Scenario } from "../../scenario.js";
import { dataProviders, SAMPLES } from "../reuse/merge-inputs.js";
import { runByKind } from "../run-by-kind.js";
import { accuracies, loadNamedSet, loadStillWorded, type NamedSet, namedTask, type SetSizes, withNames } from "./named-sets.js";
import { MINILM } from "./sentence-model.js";

/** What is done to make and measure the models that are merged. */
export interface DomainSettings extends SetSizes {
  readonly sets: readonly NamedSet["name"][];
  /** Steps of each fine-tune, and its peak step size. */
  readonly steps: number;
  readonly lr: number;
}

/** Steps and step size are those that fine-tunes by themselves do well with in that time, on validation sentences of seed 11. */
export const domainSettings: DomainSettings = {
  sets: ["banking77", "clinc150", "snips", "sst2"],
  maxLength: 48,
  steps: 120,
  lr: 3e-4,
  validation: 200,
};

/** Scales λ that are tried on validation sentences. */
const LAMBDAS = [0.2, 0.4, 0.6, 0.8, 1];
/** Sentences of each set that a method sees at a time. */
const PROBED = 16;

/** The encoder, and the encoder tuned on each set under the set's own head. */
interface Setting {
  readonly key: string;
  readonly encoder: Model;
  readonly hash: string;
  readonly sets: readonly NamedSet[];
  readonly models: Readonly<Record<string, Model>>;
  /** On test sentences of each set: the encoder as it came, the one tuned on the set. */
  readonly base: readonly number[];
  readonly individual: readonly number[];
}

async function makeSetting(key: string, settings: DomainSettings, context: CellContext): Promise<Setting> {
  const { model: encoder, hash } = await loadStillWorded(context);
  const { steps, lr } = settings;
  const sets: NamedSet[] = [];
  const models: Record<string, Model> = {};
  for (const name of settings.sets) {
    const set = await loadNamedSet(name, settings, context);
    const { delta } = (await runMethod(
      full,
      { model: encoder, task: namedTask(set, context.seed), parent: hash },
      { steps, lr, schedule: "linear", warmup: Math.floor(steps / 10), clipNorm: 1 },
      // Fine-tuning is the scenario's work, not the method's: it has the access it needs.
      { ...context, rng: new Rng(context.seed).split(name), access: full.needs },
    )) as TuningOutput;
    sets.push(set);
    models[name] = { ...encoder, params: { ...encoder.params, ...delta.tensors } };
  }
  const base = await accuracies(context, sets, "test", (set) => withNames(encoder, set));
  const individual = await accuracies(context, sets, "test", (set) => withNames(models[set.name]!, set));
  return { key, encoder, hash, sets, models, base, individual };
}

interface Merged {
  /** The model that answers for a set. */
  readonly answer: (set: NamedSet) => Model;
  readonly params: Readonly<Record<string, { readonly shape: readonly number[] }>>;
  readonly lambda?: number;
  /** λ and the accuracy with it on validation sentences. */
  readonly tried: readonly (readonly [number, number])[];
  readonly dataUsed: number;
}

/** Runs the method; where it has a scale λ, with the one that is best on validation sentences. */
async function merge({ method, config }: CellMethod, setting: Setting, context: CellContext): Promise<Merged> {
  const { key, encoder, sets, models } = setting;
  if (takes(method, "members")) return together({ method, config }, setting, context);
  const asked = sets.map(() => new Set<number>());
  const probes = Object.fromEntries(sets.map((set, i) => [set.name, namedTask(set, context.seed, PROBED, asked[i])]));
  // The default takes a backward pass per example and class, half an hour for 236 classes; one per batch did no worse on validation
  // sentences of seed 11 than one per example and label.
  const data = { key, base: encoder, models, probes, estimator: "fusion-bench" } as const;
  const { providers, reads } = dataProviders(data, context);
  const weights = Object.fromEntries(sets.map(({ name }) => [name, trainableParams(models[name]!)]));
  const given = [
    ...providers,
    provider(weightsInput, () => trainableParams(encoder)),
    provider(namedWeightsInput, () => weights),
    provider(parentInput, () => setting.hash),
  ];
  const at = async (extra: object): Promise<Model> => {
    const cell = { method, config: { ...config, ...extra } };
    const output = await runByKind<MergeOutput & { readonly model?: Model }>("minilm-domains", cell, given, context);
    return output.model ?? { ...encoder, params: { ...encoder.params, ...output.delta.tensors } };
  };
  const done = (model: Model): Pick<Merged, "answer" | "params"> => ({
    answer: (set) => withNames(model, set),
    params: model.params as Readonly<Record<string, HostTensor>>,
  });
  if (!("lambda" in method.config.shape)) {
    const model = await at({});
    const looked = asked.reduce((n, seen) => n + seen.size, 0);
    return { ...done(model), tried: [], dataUsed: reads() === "statistics" ? SAMPLES * sets.length : looked };
  }
  const tried: [number, number][] = [];
  let best = { model: encoder, lambda: Number.NaN, score: -1 };
  for (const lambda of LAMBDAS) {
    throwIfAborted(context.signal, "[@lfm/bench] minilm-domains");
    const model = await at({ lambda });
    const score = mean(await accuracies(context, sets, "validation", (set) => withNames(model, set)));
    if (score > best.score) best = { model, lambda, score };
    tried.push([lambda, score]);
    context.progress({ phase: "scales", done: tried.length, total: LAMBDAS.length, unit: "scale", values: { lambda, validation: score } });
  }
  return { ...done(best.model), lambda: best.lambda, tried, dataUsed: sets.reduce((n, s) => n + s.validation.rows.length, 0) };
}

/** All fine-tunes answer together, each under the head of the set that is asked about. */
async function together(cell: CellMethod, { sets, models }: Setting, context: CellContext): Promise<Merged> {
  const made = new Map<string, Model>();
  for (const set of sets) {
    const members = Object.values(models).map((model) => withNames(model, set));
    made.set(set.name, (await runByKind<EnsembleOutput>("minilm-domains", cell, [provider(membersInput, () => members)], context)).model);
  }
  return { answer: (set) => made.get(set.name)!, params: made.get(sets[0]!.name)!.info.params, tried: [], dataUsed: 0 };
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Merges the tuned encoders by the cell's method and asks every set's head about its own set. */
export const mergeDomains =
  (settings: DomainSettings): Scenario["run"] =>
  async (cell, context): Promise<CellOutcome> => {
    const key = `minilm/domains/${JSON.stringify(settings)}/${context.seed}`;
    const started = performance.now();
    const setting = await context.shared(key, () => makeSetting(key, settings, context));
    const { sets, base, individual, hash } = setting;
    const made = performance.now();
    const { answer, params, lambda, tried, dataUsed } = await merge(cell, setting, context);
    const merged = performance.now();
    const each = await accuracies(context, sets, "test", answer);
    const fraction = (value: number, note: string): Metric => ({ value, unit: "fraction", higherIsBetter: true, note });
    const perSet = (suffix: string, values: readonly number[], note: (set: NamedSet) => string): Record<string, Metric> =>
      Object.fromEntries(sets.map((set, i) => [`${set.name}${suffix}`, fraction(values[i]!, note(set))]));
    const [before, after] = [mean(individual), mean(each)];
    const retention = { of: "accuracy of the models that were merged, each on its own set", before, after, kept: after / before };
    const size = Object.values(params).reduce((n, t) => n + sizeOf(t.shape), 0);
    return {
      metrics: {
        accuracy: { ...fraction(after, `mean over ${sets.length} sets, each under the names of its own classes`), base: mean(base) },
        ...perSet("Accuracy", each, ({ test, head }) => `${test.rows.length} test sentences, ${head.shape[0]} classes`),
        normalized: fraction(
          mean(each.map((a, i) => a / individual[i]!)),
          "accuracy relative to the fine-tune on the same set, mean over sets",
        ),
        individualAccuracy: fraction(before, "mean of the models that were merged, each on its own set"),
        ...perSet("Individual", individual, () => "the model tuned on this set"),
        baseAccuracy: fraction(mean(base), "mean of the encoder as it came"),
        ...perSet("Base", base, () => "the encoder as it came"),
        ...(lambda === undefined
          ? {}
          : {
              lambda: { value: lambda, unit: "ratio", higherIsBetter: true, note: `best of ${LAMBDAS.join(", ")} on validation sentences` },
            }),
      },
      retention,
      trainableParams: 0,
      bytes: 4 * size,
      queries: 0,
      dataUsed,
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
    "MiniLM tuned on BANKING77, CLINC150, SNIPS and SST-2, the four encoders merged into one. A sentence belongs to the class whose name, under the encoder as it came, is nearest by cosine; these heads never learn, nor does the table of words. Mean accuracy over the sets' whole test splits.",
  headline: "accuracy",
  access: ["weights", "grad", "activations", "logits"],
  requires: ["data", "models"],
  run: mergeDomains(domainSettings),
};
