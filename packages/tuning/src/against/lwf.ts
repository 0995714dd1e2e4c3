/**
 * Learning without Forgetting (arXiv 1606.09282): on the new examples the model keeps the answers that it gave before. To the loss comes
 * λ·−Σ_c p₀(c)·log p(c), means over the scored positions, of probabilities at temperature T: equations 2 to 4.
 */
import { add, LfmError, logSoftmax, mul, neg, softmax, sum } from "@lfm/core";
import { type LearningTask, weightedMean } from "@lfm/train";

export interface LwfOptions {
  /** λ. */
  readonly weight: number;
  /** T: 1 and more. */
  readonly temperature: number;
}

/** The task with the answers of the model before. @throws {LfmError} CONFIG_INVALID, traced, for a task of values */
export function withLwf(task: LearningTask, { weight, temperature }: LwfOptions): LearningTask {
  return {
    ...task,
    loss: (forward, batch) => {
      const found = task.loss(forward, batch);
      const [input, hooks] = [task.input(batch), task.hooks?.(batch)];
      const now = task.scored(forward(input, hooks), batch);
      const before = task.scored(forward.base(input, hooks), batch);
      if (now.targets.dtype === "f32")
        throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] lwf keeps answers among classes or tokens; "${task.name}" learns values`, {
          hint: "--against l2-sp keeps weights",
        });
      const [p, logP] = [softmax(mul(before.logits, 1 / temperature)), logSoftmax(mul(now.logits, 1 / temperature))];
      const kept = weightedMean(neg(sum(mul(p, logP), -1)), now.weights);
      return { ...found, loss: add(found.loss, mul(kept, weight)), metrics: { ...found.metrics, lwf: kept } };
    },
  };
}
