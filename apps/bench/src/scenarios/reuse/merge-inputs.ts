import {
  type AnyMethod,
  cast,
  constant,
  expandDims,
  gather,
  i32,
  iota,
  lessEqual,
  matmul,
  oneHot,
  slice,
  squeeze,
  type Weights,
} from "@lfm/core";
import type { TextTask } from "@lfm/data";
import { collectStats, type Statistics, type TaskProbe } from "@lfm/reuse";
import type { CellContext } from "../../scenario.js";
import { answerTask } from "../zoo/text-answers.js";
import type { MergeSetting } from "./text-tasks-merge.js";

/** Examples of each task that statistics are taken of, as in fusion_bench. */
const SAMPLES = 256;
const BATCH = 16;

/** What a method reads besides the weights: statistics of training sentences, or the sentences without their labels. */
export async function dataFor(
  method: AnyMethod,
  setting: MergeSetting,
  context: CellContext,
): Promise<{ readonly inputs: object; readonly dataUsed: number }> {
  const { seed } = context;
  const kind = method.id === "fisher" ? "fisher" : method.id === "regmean" ? "gram" : undefined;
  if (kind !== undefined) {
    const statistics = await context.shared(`text-tasks-merge ${kind} ${seed}`, () => statisticsOf(kind, setting, context));
    return { inputs: { statistics }, dataUsed: SAMPLES * setting.tasks.length };
  }
  if (!method.needs.includes("grad") && !method.needs.includes("activations")) return { inputs: {}, dataUsed: 0 };
  const tasks = Object.fromEntries(setting.tasks.map((t) => [t.id, probeOf(setting, t, seed)]));
  return { inputs: { tasks, model: setting.zoo.lm }, dataUsed: setting.tasks[0]!.train.length * setting.tasks.length };
}

async function statisticsOf(
  kind: Statistics["kind"],
  setting: MergeSetting,
  { engine, seed, signal, progress }: CellContext,
): Promise<Readonly<Record<string, Statistics>>> {
  const found: Record<string, Statistics> = {};
  for (const task of setting.tasks)
    found[task.id] = await collectStats(engine, setting.models[task.id]!, probeOf(setting, task, seed), {
      kind,
      samples: SAMPLES,
      threads: 1,
      progress,
      ...(signal ? { signal } : {}),
    });
  return found;
}

/** The training sentences of a task, and where a language model's answer among its labels stands. */
function probeOf({ zoo }: MergeSetting, task: TextTask, seed: number): TaskProbe {
  return {
    ...answerTask(zoo.world, task, BATCH, seed),
    logits: ({ logits, prefix }, { tokens, end }) => {
      const own = slice(logits!, 1, prefix ?? 0, tokens!.dim(1));
      return gather(squeeze(matmul(expandDims(oneHot(end!, tokens!.dim(1)), 1), own), 1), constant(i32(task.labels)), 1);
    },
    labels: ({ label }) => label!,
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
