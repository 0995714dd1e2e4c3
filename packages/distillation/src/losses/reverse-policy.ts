import {
  crossEntropyPerItem,
  cumSum,
  type Dim,
  dimMul,
  div,
  flip,
  gather,
  klDivergence,
  maximum,
  mul,
  neg,
  reshape,
  scatterAdd,
  stopGradient,
  sub,
  type Tensor,
} from "@lfm/core";
import { weightedMean } from "@lfm/train";

/** Sampled tokens, and what both models say of them. */
export interface Sampled {
  /** Logits f32[n, vocab] of the token after each place. */
  readonly teacher: Tensor;
  readonly student: Tensor;
  /** i32[n]: the token after each place. */
  readonly targets: Tensor;
  /** f32[n]: 0 for places that do not count. */
  readonly weights: Tensor;
  /** i32[n], ascending: row · seq + position. */
  readonly places: Tensor;
  /** Sizes of the rows that the places lie in. */
  readonly rows: Dim;
  readonly seq: Dim;
  /** f32[n]: how much likelier the student is to give the token than what it was sampled from; absent where that was the student. */
  readonly ratios?: Tensor;
}

/**
 * Reverse KL(student ‖ teacher) of whole answers by policy gradient (arXiv 2306.08543 eq. 6): at each place the exact KL of the next token, and
 * −R·log p_s(token), R the mean over the later tokens of the answer of log p_t − log p_s (length-normalised), of which no gradient is taken.
 * Mean over the places.
 */
export function reversePolicyLoss(sampled: Sampled): Tensor {
  const { teacher, student, targets, weights, ratios } = sampled;
  const logProb = (logits: Tensor): Tensor => neg(crossEntropyPerItem(logits, targets));
  const own = logProb(student);
  const reward = mul(sub(logProb(teacher), own), weights);
  const toGo = div(later(reward, sampled), maximum(later(weights, sampled), 1));
  const gain = sub(klDivergence(student, teacher), mul(stopGradient(toGo), own));
  return weightedMean(ratios ? mul(gain, stopGradient(ratios)) : gain, weights);
}

/** Of each place the sum over those behind it in its row, f32[n]. */
function later(x: Tensor, { places, rows, seq }: Pick<Sampled, "places" | "rows" | "seq">): Tensor {
  const laid = scatterAdd(places, x, 0, dimMul(rows, seq), { distinct: true });
  const backwards = flip(reshape(laid, [rows, seq]), 1);
  const sums = reshape(flip(cumSum(backwards, 1), 1), [-1]);
  return sub(gather(sums, places, 0, { distinct: true }), x);
}
