import { add, exp, klDivergence, logSoftmax, logSumExp, mul, oneHot, sub, sum, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";

/** Taken off a logit that is to have no part in a softmax: its probability is 0 in f32, and differences to it stay finite. */
const OUT = 1e9;

export interface DecoupledWeights {
  /** α, of how sure the target class is. */
  readonly target: number;
  /** β, of how the other classes lie to each other. */
  readonly others: number;
  /** T */
  readonly temperature: number;
}

/**
 * T²·(α·KL over {target, not target} + β·KL over the classes that are not the target) (arXiv 2203.08679 eq. 7), mean over items by their weights.
 * With β = 1 − p(target) of the teacher and α = 1 it would be Hinton's loss; a β of its own frees the others from how sure the teacher is.
 * @param teacher, student — logits f32[…, classes]
 * @param targets i32[…]; weights — f32[…]
 */
export function decoupledLoss(teacher: Tensor, student: Tensor, targets: Tensor, w: DecoupledWeights, weights?: Tensor): Tensor {
  const own = oneHot(targets, teacher.dim(-1));
  const [t, s] = [mul(teacher, 1 / w.temperature), mul(student, 1 / w.temperature)];
  const masked = (z: Tensor): Tensor => sub(z, mul(own, OUT));
  /** log p(target) and log p(others), f32[…] each. */
  const split = (z: Tensor): readonly [Tensor, Tensor] => [
    sum(mul(own, logSoftmax(z)), -1),
    sub(logSumExp(masked(z), -1), logSumExp(z, -1)),
  ];
  const [[tTarget, tOthers], [sTarget, sOthers]] = [split(t), split(s)];
  const target = add(mul(exp(tTarget), sub(tTarget, sTarget)), mul(exp(tOthers), sub(tOthers, sOthers)));
  const others = klDivergence(masked(t), masked(s));
  return mul(weightedMean(add(mul(target, w.target), mul(others, w.others)), weights), w.temperature ** 2);
}
