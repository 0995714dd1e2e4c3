import { add, div, maximum, mean, mul, reshape, sqrt, square, sub, sum, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";
import type { Positions } from "../positions.js";

/** How maps are compared: the paper's distance of each pair, or the mean square that its authors' code and model zoos have. */
export type AttentionForm = "paper" | "mean-square";

/** Below a square of this a length counts as it: the derivative of √ at 0 is infinite. */
const LEAST_SQUARE = 1e-24;

/**
 * Where activations are strong (arXiv 1612.03928 eq. 2): maps Q = Σ_c F² of unit length, compared over places. "paper": mean over examples of
 * ‖Q_t − Q_s‖; "mean-square": mean over examples and places of (Q_t − Q_s)². The number of channels is each model's own.
 * @param teacher, student — maps f32[batch, channels, height, width] of one height and width, or states f32[batch, seq, d]
 * @param positions of states alone: which have a part, and how much each row weighs
 */
export function attentionTransferLoss(teacher: Tensor, student: Tensor, form: AttentionForm, positions?: Positions): Tensor {
  const [t, s] = [attentionMap(teacher, positions), attentionMap(student, positions)];
  const squares = square(sub(t, s));
  if (form === "mean-square") return weightedMean(squares, positions?.weights);
  return weightedMean(sqrt(maximum(sum(squares, -1), LEAST_SQUARE)), positions && sum(positions.weights, 1));
}

/** f32[batch, places], each of unit length. */
function attentionMap(features: Tensor, positions: Positions | undefined): Tensor {
  const strength = features.rank === 4 ? mean(square(features), 1) : mean(square(features), -1);
  const places = features.rank === 4 ? reshape(strength, [features.dim(0), -1]) : strength;
  const counted = positions ? mul(places, positions.mask) : places;
  const length = sqrt(add(sum(square(counted), -1, { keepDims: true }), LEAST_SQUARE));
  return div(counted, length);
}
