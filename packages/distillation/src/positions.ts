import { cast, dimSub, div, greater, maximum, pad, slice, sum, type Tensor } from "@lfm/core";
import type { LearningTask } from "@lfm/train";

/** How a task reads a batch. */
export type Reads = Pick<LearningTask, "batch" | "input">;

/** Which positions of states f32[batch, seq, d] count, and how much. */
export interface Positions {
  /** f32[batch, seq]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
  /** f32[batch, seq]: shares of the loss. They sum to what the batch weighs, so that micro-batches add up to the gradient of one batch. */
  readonly weights: Tensor;
}

/**
 * The positions that count: tokens without padding, each row weighing 1; of what predicts tokens the positions before those that are learned, by their
 * weights. Undefined where a batch has no sequences, or nothing says that some do not count.
 */
export function countedPositions(task: Reads, batch: Readonly<Record<string, Tensor>>): Positions | undefined {
  const { mask, tokens } = task.input(batch);
  if (mask) return { mask, weights: div(mask, maximum(sum(mask, 1, { keepDims: true }), 1)) };
  const { weights } = batch;
  if (!tokens || weights?.rank !== 2) return undefined;
  const next = pad(slice(weights, 1, 1, dimSub(tokens.dim(1), 1)), 1, 0, 1);
  return { mask: cast(greater(next, 0), "f32"), weights: next };
}
