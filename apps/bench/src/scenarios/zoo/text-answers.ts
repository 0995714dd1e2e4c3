import { constant, type Engine, gather, type HostTensor, i32, type Model, Rng, squeeze, sym } from "@lfm/core";
import { packTextItems, type TextItem, type TextTask, type World } from "@lfm/data";
import { createPredictor, rowsAt } from "@lfm/models";
import { type Batch, createSampler, defineTask, type LearningTask, withBatches } from "@lfm/train";

/**
 * A classification task as a language model learns it: cross entropy among the words that are labels (arXiv 2001.07676, equation 1); the
 * rest of the vocabulary is left alone. Each epoch sees every item once, in a new order.
 */
export function answerTask(world: World, task: Pick<TextTask, "id" | "train" | "labels">, batchSize: number, seed: number): LearningTask {
  const { id, train, labels } = task;
  const order = createSampler({ count: train.length, batchSize, rng: new Rng(seed).split(id), dropLast: true });
  const perItem = [sym("batch")];
  const shape = defineTask({
    name: id,
    batch: {
      tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] },
      end: { dtype: "i32", shape: perItem },
      label: { dtype: "i32", shape: perItem },
    },
    input: ({ tokens }) => ({ tokens: tokens! }),
    scored: ({ logits }, { tokens, end, label }) => {
      const next = squeeze(rowsAt(logits!, end!, tokens!.dim(1)), 1);
      return { logits: gather(next, constant(i32(labels)), 1), targets: label! };
    },
  });
  const batches = (number: number): Batch => {
    const items = order.batch(number).map((i) => train[i]!);
    const { tokens, ends } = packTextItems(world, items);
    return { tokens, end: i32(ends), label: i32(items.map((item) => item.label)) };
  };
  return withBatches(shape, batches, order.perEpoch);
}

/** The task with a share of its training labels replaced by other ones of the task, `round(share · items)` of them; validation and test stay right. */
export function withWrongLabels(task: TextTask, share: number, seed: number): TextTask {
  const rng = new Rng(seed).split("wrong labels");
  const wrong = new Set(
    rng.sample(
      task.train.map((_, i) => i),
      Math.round(share * task.train.length),
    ),
  );
  const train = task.train.map((item, i) => {
    if (!wrong.has(i)) return item;
    const label = (item.label + 1 + rng.int(task.labels.length - 1)) % task.labels.length;
    return { ...item, label, answer: task.labels[label]! };
  });
  return { ...task, train };
}

/** Logits of the word after each prompt, f32[vocab] each. */
export async function nextLogits(engine: Engine, model: Model, items: readonly TextItem[], signal?: AbortSignal): Promise<HostTensor[]> {
  const predictor = await createPredictor(engine, model, "next", { batchSize: 128 });
  try {
    return await predictor.predict(
      items.map((item) => item.prompt),
      signal,
    );
  } finally {
    await predictor.dispose();
  }
}

/** Share of items whose label's word is more probable than the other labels of the task, 0..1. */
export async function labelAccuracy(
  engine: Engine,
  model: Model,
  task: Pick<TextTask, "labels">,
  items: readonly TextItem[],
  signal?: AbortSignal,
): Promise<number> {
  return shareRight(await nextLogits(engine, model, items, signal), task, items);
}

/** {@link labelAccuracy} from logits that are there already. */
export function shareRight(logits: readonly HostTensor[], task: Pick<TextTask, "labels">, items: readonly TextItem[]): number {
  const right = items.filter((item, i) => {
    const score = (label: number): number => logits[i]!.data[task.labels[label]!] as number;
    return task.labels.every((_, label) => label === item.label || score(item.label) > score(label));
  });
  return right.length / items.length;
}

/** How often each label is the answer. */
export function answerCounts(logits: readonly HostTensor[], { labels }: Pick<TextTask, "labels">): number[] {
  const counts = labels.map(() => 0);
  for (const { data } of logits) {
    const best = labels.reduce((a, label, k) => ((data[label] as number) > (data[labels[a]!] as number) ? k : a), 0);
    counts[best] = counts[best]! + 1;
  }
  return counts;
}
