import { cast, expandDims, iota, lessEqual, type Model, modelInput, type Provider, provider, type Weights } from "@lfm/core";
import type { TextTask } from "@lfm/data";
import type { Zoo } from "@lfm/models/zoo";
import { fishersInput, gramsInput, taskProbesInput } from "@lfm/reuse";
import { collectFisher, collectGrams, type FisherEstimator, type Statistics, type TaskProbe } from "@lfm/statistics";
import type { CellContext } from "../../scenario.js";
import { answerTask } from "../zoo/text-answers.js";

/** Examples of each task that statistics are taken of, as in fusion_bench. */
export const SAMPLES = 256;
const BATCH = 16;

/** The world, the tasks and the models that were tuned for them. */
export interface MergeSetting {
  readonly zoo: Zoo;
  readonly tasks: readonly TextTask[];
  readonly models: Readonly<Record<string, Model>>;
}

/** The models of a merge with what their data can tell a method. */
export interface MergeData {
  /** Names the models among what cells share; holds everything that they depend on. */
  readonly key: string;
  /** The model that all were tuned from. */
  readonly base: Model;
  readonly models: Readonly<Record<string, Model>>;
  /** Training examples of each model's task, under the model's name. */
  readonly probes: Readonly<Record<string, TaskProbe>>;
  /** How squared gradients are taken, where not as by default. */
  readonly estimator?: FisherEstimator;
}

export interface DataProviders {
  readonly providers: readonly Provider[];
  /** What was asked for so far: nothing, statistics of {@link SAMPLES} examples a task, or examples without their labels. */
  reads(): "nothing" | "statistics" | "examples";
}

/** The base with examples for those that run or train the merged model; statistics, taken once for all cells, for those that weigh by them. */
export function dataProviders(data: MergeData, context: CellContext): DataProviders {
  let asked: ReturnType<DataProviders["reads"]> = "nothing";
  const measured = (kind: Statistics["kind"]) => () => {
    asked = "statistics";
    return context.shared(`${data.key} ${kind}`, () => statisticsOf(kind, data, context));
  };
  return {
    providers: [
      provider(modelInput, () => data.base),
      provider(taskProbesInput, () => {
        asked = "examples";
        return data.probes;
      }),
      provider(fishersInput, measured("fisher")),
      provider(gramsInput, measured("gram")),
    ],
    reads: () => asked,
  };
}

async function statisticsOf(
  kind: Statistics["kind"],
  { models, probes, estimator }: MergeData,
  { engine, signal, progress }: CellContext,
): Promise<Readonly<Record<string, Statistics>>> {
  const found: Record<string, Statistics> = {};
  for (const [name, model] of Object.entries(models))
    found[name] = await (kind === "fisher" ? collectFisher : collectGrams)(engine, model, probes[name]!, {
      samples: SAMPLES,
      threads: 1,
      progress,
      ...(estimator ? { estimator } : {}),
      ...(signal ? { signal } : {}),
    });
  return found;
}

/** What methods may read of the text tasks besides the weights, and how many examples they have. */
export function dataOfTasks(setting: MergeSetting, context: CellContext): Pick<DataProviders, "providers"> & { dataUsed(): number } {
  const { seed } = context;
  const { zoo, tasks, models } = setting;
  const probes = Object.fromEntries(tasks.map((t) => [t.id, probeOf(setting, t, seed)]));
  const { providers, reads } = dataProviders({ key: `text-tasks-merge ${seed}`, base: zoo.lm, models, probes }, context);
  const examples = { nothing: 0, statistics: SAMPLES, examples: tasks[0]!.train.length };
  return { providers, dataUsed: () => examples[reads()] * tasks.length };
}

/** The training sentences of a task, and where a language model's answer among its labels stands. */
function probeOf({ zoo }: MergeSetting, task: TextTask, seed: number): TaskProbe {
  return {
    ...answerTask(zoo.world, task, BATCH, seed),
    counted: ({ tokens, end }) => cast(lessEqual(expandDims(iota(tokens!.dim(1)), 0), expandDims(end!, 1)), "f32"),
  };
}

/** Weights of every model under the parameter names of the base. */
export function namedWeights(setting: MergeSetting): Readonly<Record<string, Weights>> {
  const names = Object.keys(setting.zoo.lm.info.params);
  return Object.fromEntries(
    Object.entries(setting.models).map(([id, m]) => [id, Object.fromEntries(names.map((name) => [name, m.params[name]!]))]),
  );
}
