import {
  forgettingMonitor,
  type HostTensor,
  type Metric,
  type Model,
  membersInput,
  namedWeightsInput,
  parentInput,
  provider,
  runMethod,
  sizeOf,
  takes,
  throwIfAborted,
  trainableParams,
  type Weights,
  weightsInput,
} from "@lfm/core";
import { type TextItem, textTasks } from "@lfm/data";
import { collapseVerdict } from "@lfm/distillation";
import { loadZoo } from "@lfm/models/zoo";
import { type EnsembleOutput, type MergeOutput, scoreInput } from "@lfm/reuse";
import { full } from "@lfm/tuning";
import type { CellContext, CellMethod, Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { factRetention } from "../zoo/retention.js";
import { answerCounts, answerTask, nextLogits, shareRight } from "../zoo/text-answers.js";
import { dataOfTasks, type MergeSetting, namedWeights } from "./merge-inputs.js";
import { MERGED_TASKS } from "./merged-tasks.js";

const BATCH = 16;
/** One setting for all fine-tunes: the fewest steps after which each is right on all validation sentences of seed 11. */
const FINE_TUNING = { steps: 60, lr: 1e-3, schedule: "linear", warmup: 6, clipNorm: 1 } as const;
/** Scales of the merged task vector that are tried on the validation sentences. */
const LAMBDAS = [0.3, 0.5, 0.7, 0.9, 1.1, 1.4, 1.8];
/** fusion_bench's scale, one of them: what the method comes to without labelled sentences to choose by. */
const FIXED_LAMBDA = 0.3;

/** Several specialists become one model: what is left of each one's skill. */
export const textTasksMerge: Scenario = {
  id: "text-tasks-merge",
  paradigm: "reuse",
  model: "zoo-lm",
  summary: `Fine-tunes of one model on ${MERGED_TASKS.length} tasks (${MERGED_TASKS.join(", ")}) are merged; accuracy is the mean over the tasks on sentences about unseen people.`,
  headline: "accuracy",
  access: ["weights", "grad", "activations", "logits"],
  run: async (cell, context) => {
    const { seed, signal } = context;
    const setting = await context.shared(`text-tasks-merge ${seed}`, () => makeSetting(context));
    const { zoo, tasks, models } = setting;
    const testOf = (model: Model): Promise<number[]> => accuracies(model, setting, "test", context);
    const base = await context.shared(`text-tasks-merge base ${seed}`, () => testOf(zoo.lm));
    const single = await context.shared(`text-tasks-merge singles ${seed}`, async () => {
      const rows: number[][] = [];
      for (const model of Object.values(models)) rows.push(await testOf(model));
      return rows;
    });
    throwIfAborted(signal, "[@lfm/bench] text-tasks-merge");
    const started = performance.now();
    const { model, lambda, fixed, size, dataUsed } = await merge(cell, setting, context);
    const merged = performance.now();
    const answers = await nextLogits(context.engine, model, tasks[0]!.test, signal);
    const accuracy = tasks.map((task) => shareRight(answers, task, task.test));
    const collapses = tasks.map((task) => collapseVerdict(answerCounts(answers, task), `answers about ${task.id}`));
    const retention = await factRetention(zoo, model, context);
    const own = tasks.map((_, t) => single[t]![t]!);
    const perTask = (what: string, values: readonly number[]): Record<string, Metric> =>
      Object.fromEntries(tasks.map((t, i) => [`${t.id}${what}`, fraction(values[i]!, t.question)]));
    return {
      metrics: {
        accuracy: { ...fraction(mean(accuracy), `mean over ${tasks.map((t) => t.id).join(", ")}, 512 test sentences`), base: mean(base) },
        ...perTask("Accuracy", accuracy),
        normalized: fraction(
          mean(accuracy.map((a, i) => a / own[i]!)),
          "accuracy relative to the fine-tune of the same task, mean over tasks",
        ),
        baseAccuracy: fraction(mean(base), "the model that all were tuned from"),
        ...perTask("Base", base),
        individualAccuracy: fraction(mean(own), "each fine-tune on its own task"),
        ...perTask("Individual", own),
        individualOnAll: fraction(mean(single.map(mean)), "each fine-tune on all tasks"),
        answerEvenness: fraction(
          mean(collapses.map((m) => m.value)),
          "entropy of which labels are the answer as a share of the largest possible, mean over tasks",
        ),
        ...(lambda === undefined
          ? {}
          : {
              lambda: {
                value: lambda,
                unit: "ratio",
                higherIsBetter: true,
                note: "scale of the task vector, the best on 256 validation sentences",
              },
              fixedScaleAccuracy: fraction(mean(await testOf(fixed!)), `with λ = ${FIXED_LAMBDA}, which nothing was chosen for`),
            }),
      },
      retention,
      trainableParams: size,
      bytes: 4 * size,
      queries: 0,
      dataUsed: dataUsed + (lambda === undefined ? 0 : tasks[0]!.validation.length),
      monitors: [forgettingMonitor(retention), collapses.reduce((worst, m) => (m.value < worst.value ? m : worst))],
      curves: {},
      phasesMs: { merge: merged - started, evaluate: performance.now() - merged },
      modelHash: zoo.lmHash,
    };
  },
};

async function makeSetting(context: CellContext): Promise<MergeSetting> {
  const { seed, rng } = context;
  const zoo = await context.shared("zoo", loadZoo);
  const all = await context.shared(`text tasks ${seed}`, async () => textTasks(zoo.world, { seed }));
  const tasks = MERGED_TASKS.map((id) => all.find((t) => t.id === id)!);
  const models: Record<string, Model> = {};
  for (const task of tasks) {
    const inputs = { model: zoo.lm, task: answerTask(zoo.world, task, BATCH, seed), parent: zoo.lmHash };
    // Fine-tuning the specialists is the scenario's work, not the method's: it has the access it needs.
    const own = { ...context, rng: rng.split(task.id), access: full.needs };
    models[task.id] = (await runMethod(full, inputs, { ...FINE_TUNING }, own)).model;
  }
  return { zoo, tasks, models };
}

/** All tasks ask about the same sentences: one pass answers for every task. */
async function accuracies(
  model: Model,
  { tasks }: MergeSetting,
  split: "validation" | "test",
  { engine, signal }: CellContext,
): Promise<number[]> {
  const items: readonly TextItem[] = tasks[0]![split];
  const logits: readonly HostTensor[] = await nextLogits(engine, model, items, signal);
  return tasks.map((task) => shareRight(logits, task, task[split]));
}

interface Merged {
  readonly model: Model;
  /** The scale that was chosen, for methods that have one, and the model with {@link FIXED_LAMBDA}. */
  readonly lambda?: number;
  readonly fixed?: Model;
  readonly size: number;
  readonly dataUsed: number;
}

/** Runs the method; where it has a scale λ, with the one that is best on validation sentences. */
async function merge({ method, config }: CellMethod, setting: MergeSetting, context: CellContext): Promise<Merged> {
  const { zoo, models } = setting;
  const { providers, dataUsed } = dataOfTasks(setting, context);
  const evaluate = async (params: Weights): Promise<number> =>
    mean(await accuracies({ ...zoo.lm, params: { ...zoo.lm.params, ...params } }, setting, "validation", context));
  const base = trainableParams(zoo.lm);
  const given = [
    ...providers,
    provider(weightsInput, () => base),
    provider(namedWeightsInput, () => namedWeights(setting)),
    provider(membersInput, () => Object.values(models)),
    provider(parentInput, () => zoo.lmHash),
    provider(scoreInput, () => evaluate),
  ];
  const at = async (extra: object): Promise<Model> => {
    const quiet = { ...context, progress: () => {} };
    const output = await runByKind<Partial<MergeOutput & EnsembleOutput>>(
      "text-tasks-merge",
      { method, config: { ...config, ...extra } },
      given,
      quiet,
    );
    return output.model ?? { ...zoo.lm, params: { ...zoo.lm.params, ...output.delta!.tensors } };
  };
  const params = (shapes: Readonly<Record<string, { readonly shape: readonly number[] }>>): number =>
    Object.values(shapes).reduce((n, t) => n + sizeOf(t.shape), 0);
  if (!("lambda" in method.config.shape)) {
    const model = await at({});
    // Models that answer together are all still there; of a merge there is one.
    return { model, size: takes(method, "members") ? params(model.info.params) : params(base), dataUsed: dataUsed() };
  }
  let best = { model: zoo.lm, lambda: Number.NaN, score: -1 };
  let fixed = zoo.lm;
  for (const [i, lambda] of LAMBDAS.entries()) {
    throwIfAborted(context.signal, "[@lfm/bench] text-tasks-merge");
    const model = await at({ lambda });
    const score = mean(await accuracies(model, setting, "validation", context));
    if (lambda === FIXED_LAMBDA) fixed = model;
    if (score > best.score) best = { model, lambda, score };
    context.progress({ phase: "scales", done: i + 1, total: LAMBDAS.length, unit: "scale", values: { lambda, validation: score } });
  }
  return { model: best.model, lambda: best.lambda, fixed, size: params(base), dataUsed: dataUsed() };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function fraction(value: number, note: string): Metric {
  return { value, unit: "fraction", higherIsBetter: true, note };
}
