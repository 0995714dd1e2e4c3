/**
 * Replay (Rehearsal, Robins 1995; experience replay, arXiv 1811.11682): every batch brings examples of what the model knew along, and the loss is
 * that of the new ones plus `weight` times that of the old ones.
 */
import { add, dimRename, mul, type Tensor } from "@lfm/core";
import type { Batch, BatchSpec, LearningTask } from "@lfm/train";

const PREFIX = "replay/";

/** The task with batches of an old one beside its own. @param weight of the old one's loss */
export function withReplay(task: LearningTask, old: LearningTask, weight: number): LearningTask {
  return {
    ...task,
    batch: { ...task.batch, ...besideSpec(old.batch) },
    batches: (number) => ({ ...task.batches(number), ...renamed(old.batches(number)) }),
    loss: (forward, batch) => {
      const fresh = task.loss(forward, batch);
      const kept = old.loss(forward, ownOf(batch));
      return { ...fresh, loss: add(fresh.loss, mul(kept.loss, weight)), metrics: { ...fresh.metrics, replay: kept.loss } };
    },
  };
}

/** Sizes of the old task's batches are their own. */
function besideSpec(spec: BatchSpec): BatchSpec {
  return Object.fromEntries(
    Object.entries(spec).map(([name, { dtype, shape }]) => [
      `${PREFIX}${name}`,
      { dtype, shape: shape.map((dim) => dimRename(dim, (symbol) => `replay_${symbol}`)) },
    ]),
  );
}

function renamed<T>(batch: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(batch).map(([name, t]) => [`${PREFIX}${name}`, t]));
}

function ownOf(batch: Batch<Tensor>): Batch<Tensor> {
  return Object.fromEntries(
    Object.entries(batch).flatMap(([name, t]) => (name.startsWith(PREFIX) ? [[name.slice(PREFIX.length), t]] : [])),
  );
}
