import { div, expandDims, matmul, maximum, mean, mul, splitHeads, square, sub, sum, type Tensor } from "@lfm/core";
import { weightedMean } from "@lfm/train";
import type { Positions } from "../positions.js";

/** Queries and keys of a layer, f32[batch, seq, heads·headDim]. */
export interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly heads: number;
}

/**
 * Mean squared difference of the attention scores q·kᵀ/√headDim, before the softmax (arXiv 1909.10351 eq. 7), over heads and, for each
 * query, over the keys that count. What positions do to queries and keys afterwards (rotary) is no part of it.
 * @param positions that count
 */
export function attentionScoreLoss(teacher: Projected, student: Projected, positions?: Positions): Tensor {
  const squares = mean(square(sub(scores(student), scores(teacher))), 1);
  if (!positions) return mean(squares);
  const keys = expandDims(positions.mask, 1);
  return weightedMean(div(sum(mul(squares, keys), -1), maximum(sum(keys, -1), 1)), positions.weights);
}

/** f32[batch, heads, seq, seq] */
function scores({ q, k, heads }: Projected): Tensor {
  const queries = splitHeads(q, heads);
  return mul(matmul(queries, splitHeads(k, heads), { transB: true }), 1 / Math.sqrt(queries.dim(3) as number));
}
