import { type Dim, dimSub, expandDims, matmul, oneHot, slice, type Tensor } from "@lfm/core";

/**
 * One row of each sequence, counted among its own tokens: what hooks put in front is left out. A product with a one-hot row, so that gradients
 * need no scatter.
 * @param x f32[batch, prefix + length, d]
 * @param index i32[batch], 0..length−1
 * @returns f32[batch, 1, d]
 */
export function rowsAt(x: Tensor, index: Tensor, length: Dim): Tensor {
  return matmul(expandDims(oneHot(index, length), 1), slice(x, 1, dimSub(x.dim(1), length), length));
}
