import {
  add,
  dimScalar,
  div,
  log,
  logSumExp,
  matmul,
  maximum,
  mean,
  mul,
  neg,
  softplus,
  sqrt,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
} from "@lfm/core";

/**
 * One side of the contrast (arXiv 1910.10699 eq. 17 and 18): is a pair of embeddings of one example, or of two? −log h(own) − Σ log(1 − h(other)),
 * h = u/(u + N·ū) with u = exp(a·b/τ), N others, and ū their mean over the batch, which stands for the normaliser that the authors' code takes once.
 * Mean over the batch.
 * @param anchors f32[batch, d], own — f32[batch, d], others — f32[n, d]; all rows of unit length
 * @param temperature τ
 */
export function contrastiveLoss(anchors: Tensor, own: Tensor, others: Tensor, temperature: number): Tensor {
  const near = mul(sum(mul(anchors, own), -1), 1 / temperature);
  const far = mul(matmul(anchors, others, { transB: true }), 1 / temperature);
  // log(N·ū), of which no gradient is taken.
  const level = stopGradient(sub(logSumExp(far), log(dimScalar(anchors.dim(0)))));
  const pull = softplus(neg(sub(near, level)));
  return mean(add(pull, sum(softplus(sub(far, level)), -1)));
}

/** f32[batch, d], rows of unit length. */
export function unitRows(x: Tensor): Tensor {
  return div(x, sqrt(maximum(sum(square(x), -1, { keepDims: true }), 1e-24)));
}
