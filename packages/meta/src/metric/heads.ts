/** Parts of heads: distances, means, unit vectors. */
import { add, div, expandDims, matmul, mul, neg, oneHot, rsqrt, square, sub, sum, type Tensor, transpose } from "@lfm/core";

/** −‖q − c‖² for queries f32[n, d] and prototypes f32[k, d] → f32[n, k]. */
export function negativeSquaredDistances(queries: Tensor, prototypes: Tensor): Tensor {
  const cross = matmul(queries, prototypes, { transB: true });
  const q2 = sum(square(queries), -1, { keepDims: true });
  const c2 = transpose(sum(square(prototypes), -1, { keepDims: true }));
  return neg(add(sub(q2, mul(cross, 2)), c2));
}

/** Mean embedding per class: supports f32[n, d], labels i32[n] → f32[ways, d]. */
export function prototypes(supports: Tensor, labels: Tensor, ways: number): Tensor {
  const membership = oneHot(labels, ways);
  return div(matmul(membership, supports, { transA: true }), expandDims(sum(membership, 0), -1));
}

/** Rows of length 1. f32[n, d] */
export function unitRows(x: Tensor): Tensor {
  return mul(x, rsqrt(add(sum(square(x), -1, { keepDims: true }), 1e-12)));
}
