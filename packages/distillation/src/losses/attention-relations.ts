import { add, klDivergence, matmul, mean, mul, reshape, splitHeads, sub, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";
import type { Positions } from "../positions.js";

/** Scores of keys that stand for nothing. */
const HIDDEN = -1e9;

/**
 * How the tokens of a row are alike in one of a layer's projections (arXiv 2012.15828 eq. 5): KL(softmax(A_t·A_tᵀ/√d) ‖ softmax(A_s·A_sᵀ/√d)) by relation
 * heads, mean over heads and over the positions that count. The heads need not be those of either model: both widths are cut into as many.
 * @param teacher queries, keys or values f32[batch, seq, d], student — the same of it f32[batch, seq, d']
 * @param heads divides both widths
 * @param positions that count; the keys of others are not seen
 */
export function relationLoss(teacher: Tensor, student: Tensor, heads: number, positions?: Positions): Tensor {
  const divergence = klDivergence(relations(teacher, heads, positions?.mask), relations(student, heads, positions?.mask));
  return weightedMean(mean(divergence, 1), positions?.weights);
}

/** Scores f32[batch, heads, seq, seq] before the softmax, keys of padding hidden. */
function relations(x: Tensor, heads: number, mask: Tensor | undefined): Tensor {
  const split = splitHeads(x, heads);
  const scores = mul(matmul(split, split, { transB: true }), 1 / Math.sqrt(split.dim(3) as number));
  return mask ? add(scores, reshape(mul(sub(1, mask), HIDDEN), [mask.dim(0), 1, 1, mask.dim(1)])) : scores;
}
