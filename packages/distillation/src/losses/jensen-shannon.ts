import { add, exp, klDivergence, log, logSoftmax, maximum, mul, sub, sum, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";

/**
 * Generalised Jensen–Shannon divergence (arXiv 2306.13649 eq. 1): β·KL(t ‖ m) + (1 − β)·KL(s ‖ m), m = β·t + (1 − β)·s. The formula is 0 for β = 0
 * and 1; what it tends to there, divided by β(1 − β), is meant: 0 is the forward KL(t ‖ s), 1 the reverse KL(s ‖ t).
 * Mean over items by their weights.
 * @param teacher, student — logits f32[…, classes]
 * @param temperature divides both; the loss is not scaled back (as in TRL)
 * @param weights f32[…]
 */
export function jensenShannonLoss(teacher: Tensor, student: Tensor, beta: number, temperature = 1, weights?: Tensor): Tensor {
  const [t, s] = [mul(teacher, 1 / temperature), mul(student, 1 / temperature)];
  return weightedMean(divergence(t, s, beta), weights);
}

/** f32[…] from logits. */
function divergence(t: Tensor, s: Tensor, beta: number): Tensor {
  if (beta === 0) return klDivergence(t, s);
  if (beta === 1) return klDivergence(s, t);
  const [lt, ls] = [logSoftmax(t), logSoftmax(s)];
  const lm = logMixture(lt, ls, beta);
  const to = (l: Tensor): Tensor => sum(mul(exp(l), sub(l, lm)), -1);
  return add(mul(to(lt), beta), mul(to(ls), 1 - beta));
}

/** log(β·e^a + (1 − β)·e^b), by the larger of both. */
function logMixture(a: Tensor, b: Tensor, beta: number): Tensor {
  const top = maximum(a, b);
  return add(top, log(add(mul(exp(sub(a, top)), beta), mul(exp(sub(b, top)), 1 - beta))));
}
