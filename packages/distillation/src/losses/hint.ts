import { mean, square, sub, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";

/**
 * Mean squared difference of features (arXiv 1412.6550 eq. 3, as a mean): f32[batch, d], maps f32[batch, channels, height, width], or states
 * f32[batch, seq, d], whose positions count by their weights.
 * @param weights f32[batch, seq], of states alone
 */
export function hintLoss(teacher: Tensor, student: Tensor, weights?: Tensor): Tensor {
  const squares = square(sub(student, teacher));
  return weights ? weightedMean(mean(squares, -1), weights) : mean(squares);
}
