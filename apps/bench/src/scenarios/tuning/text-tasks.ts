import { changedBy, constant, deltaBytes, deltaSize, forgettingMonitor, gather, i32, type Metric, Rng, squeeze, sym } from "@lfm/core";
import { packTextItems, type TextTask, textTasks, type World } from "@lfm/data";
import { rowsAt } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { type Batch, createSampler, defineTask, joinScored, type LearningTask, withBatches } from "@lfm/train";
import type { TuningOutput } from "@lfm/tuning";
import type { Scenario } from "../../scenario.js";
import { MERGED_TASKS } from "../reuse/merged-tasks.js";
import { runByKind } from "../run-by-kind.js";
import { factRetention } from "../zoo/retention.js";
import { nextLogits, shareRight } from "../zoo/text-answers.js";
import { learns } from "./learns.js";

const BATCH = 32;

/** Several tasks learned at once, with the data of all: what merging their specialists is measured against. */
export const textTasksAtOnce: Scenario = {
  id: "text-tasks",
  paradigm: "tuning",
  model: "zoo-lm",
  summary: `One model is trained on ${MERGED_TASKS.length} tasks at once (${MERGED_TASKS.join(", ")}); accuracy is the mean over the tasks on sentences about unseen people.`,
  headline: "accuracy",
  access: ["weights", "grad", "logits", "labels"],
  run: async (cell, context) => {
    const { engine, signal, seed } = context;
    const zoo = await context.shared("zoo", loadZoo);
    const all = await context.shared(`text tasks ${seed}`, async () => textTasks(zoo.world, { seed }));
    const tasks = MERGED_TASKS.map((id) => all.find((t) => t.id === id)!);
    const learning = learns(zoo.lm, atOnce(zoo.world, tasks, seed), zoo.lmHash);
    const started = performance.now();
    const { delta, model, curves } = await runByKind<TuningOutput>("text-tasks", cell, learning, context);
    const trained = performance.now();
    const logits = await nextLogits(engine, model, tasks[0]!.test, signal);
    const accuracies = tasks.map((t) => shareRight(logits, t, t.test));
    const retention = await factRetention(zoo, model, context);
    const fraction = (value: number, note: string): Metric => ({ value, unit: "fraction", higherIsBetter: true, note });
    return {
      metrics: {
        accuracy: fraction(
          accuracies.reduce((a, b) => a + b, 0) / tasks.length,
          `mean over ${MERGED_TASKS.join(", ")}, 512 test sentences`,
        ),
        ...Object.fromEntries(tasks.map((t, i) => [`${t.id}Accuracy`, fraction(accuracies[i]!, t.question)])),
      },
      retention,
      trainableParams: deltaSize(delta),
      bytes: deltaBytes(delta),
      queries: 0,
      dataUsed: tasks.length * tasks[0]!.train.length,
      monitors: [forgettingMonitor(retention, changedBy(delta, zoo.lm))],
      curves,
      phasesMs: { train: trained - started, evaluate: performance.now() - trained },
      modelHash: zoo.lmHash,
    };
  },
};

/** The tasks ask about the same sentences: one forward pass, the mean of the cross entropies among each task's labels. */
function atOnce(world: World, tasks: readonly TextTask[], seed: number): LearningTask {
  const items = tasks[0]!.train;
  const sampler = createSampler({ count: items.length, batchSize: BATCH, rng: new Rng(seed), dropLast: true });
  const row = [sym("batch")];
  const batches = (step: number): Batch => {
    const chosen = sampler.batch(step);
    const { tokens, ends } = packTextItems(
      world,
      chosen.map((i) => items[i]!),
    );
    return { tokens, end: i32(ends), ...Object.fromEntries(tasks.map((t) => [t.id, i32(chosen.map((i) => t.train[i]!.label))])) };
  };
  const shape = defineTask({
    name: tasks.map((t) => t.id).join("+"),
    batch: {
      tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] },
      end: { dtype: "i32", shape: row },
      ...Object.fromEntries(tasks.map((t) => [t.id, { dtype: "i32" as const, shape: row }])),
    },
    input: ({ tokens }) => ({ tokens: tokens! }),
    scored: ({ logits }, batch) => {
      const { tokens, end } = batch;
      const next = squeeze(rowsAt(logits!, end!, tokens!.dim(1)), 1);
      return joinScored(tasks.map((t) => ({ logits: gather(next, constant(i32(t.labels)), 1), targets: batch[t.id]! })));
    },
  });
  return withBatches(shape, batches, sampler.perEpoch);
}
