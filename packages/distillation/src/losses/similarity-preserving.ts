import { add, div, matmul, mean, sqrt, square, sub, sum, type Tensor } from "@lfm/core";

/** Keeps the length of a row of zeros from 0. */
const LEAST_SQUARE = 1e-24;

/**
 * Which examples of a batch are alike (arXiv 1907.09682 eq. 4): ‖G_t − G_s‖²_F / batch², G = Q·Qᵀ with rows of unit length.
 * @param teacher f32[batch, d], student — f32[batch, d']
 */
export function similarityLoss(teacher: Tensor, student: Tensor): Tensor {
  return mean(square(sub(similarities(teacher), similarities(student))));
}

function similarities(x: Tensor): Tensor {
  const g = matmul(x, x, { transB: true });
  return div(g, sqrt(add(sum(square(g), -1, { keepDims: true }), LEAST_SQUARE)));
}
