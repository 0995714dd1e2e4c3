import { klDivergence, mul, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";

/** T²·KL(softmax(t/T) ‖ softmax(s/T)) (arXiv 1503.02531), mean over items by their weights; logits f32[…, classes], weights f32[…]. */
export function softTargetLoss(teacherLogits: Tensor, studentLogits: Tensor, temperature: number, weights?: Tensor): Tensor {
  const divergence = klDivergence(mul(teacherLogits, 1 / temperature), mul(studentLogits, 1 / temperature));
  return mul(weightedMean(divergence, weights), temperature ** 2);
}
