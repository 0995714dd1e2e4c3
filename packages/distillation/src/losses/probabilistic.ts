import { add, div, log, matmul, mean, mul, sqrt, square, sum, type Tensor } from "@lfm/core";

/** As in the authors' code, at lengths and inside of logarithms. */
const EPSILON = 1e-7;

/**
 * The neighbourhood of each example as a distribution (arXiv 1803.10837 eq. 10): (cos + 1)/2 over the batch, rows summing to 1, compared by
 * the mean over pairs of p_t·log(p_t / p_s).
 * @param teacher f32[batch, d], student — f32[batch, d']
 */
export function probabilisticTransferLoss(teacher: Tensor, student: Tensor): Tensor {
  const [t, s] = [neighbours(teacher), neighbours(student)];
  return mean(mul(t, log(div(add(t, EPSILON), add(s, EPSILON)))));
}

function neighbours(x: Tensor): Tensor {
  const length = sqrt(add(sum(square(x), -1, { keepDims: true }), EPSILON ** 2));
  const unit = div(x, add(length, EPSILON));
  const kernel = mul(add(matmul(unit, unit, { transB: true }), 1), 0.5);
  return div(kernel, sum(kernel, -1, { keepDims: true }));
}
