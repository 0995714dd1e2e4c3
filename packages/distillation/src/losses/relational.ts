import {
  abs,
  add,
  cast,
  div,
  expandDims,
  greater,
  lessEqual,
  matmul,
  maximum,
  mean,
  mul,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  where,
} from "@lfm/core";

/** Squared distances below this count as it (as in the authors' code): the derivative of √ at 0 is infinite. */
const LEAST_SQUARE = 1e-12;
const LEAST_LENGTH_SQUARE = 1e-24;

/**
 * Relations of the examples of a batch (arXiv 1904.05068 eq. 6): distances of pairs, each side's divided by its mean, under Huber's loss.
 * @param teacher f32[batch, d], student — f32[batch, d']; at least two examples
 */
export function distanceRelationLoss(teacher: Tensor, student: Tensor): Tensor {
  return mean(huber(sub(relativeDistances(student), relativeDistances(teacher))));
}

/** Angles at the middle one of each three examples (arXiv 1904.05068 eq. 8): their cosines under Huber's loss. Sizes as {@link distanceRelationLoss}. */
export function angleRelationLoss(teacher: Tensor, student: Tensor): Tensor {
  return mean(huber(sub(cosines(student), cosines(teacher))));
}

/** xᵢ − xⱼ, f32[batch, batch, d] */
function differences(x: Tensor): Tensor {
  return sub(expandDims(x, 0), expandDims(x, 1));
}

/** f32[batch, batch], 0 on the diagonal; the mean is over the pairs that are apart. */
function relativeDistances(x: Tensor): Tensor {
  const squares = sum(square(differences(x)), -1);
  const apart = cast(greater(squares, 0), "f32");
  const distances = mul(sqrt(maximum(squares, LEAST_SQUARE)), apart);
  return div(distances, maximum(div(sum(distances), maximum(sum(apart), 1)), LEAST_SQUARE));
}

/** f32[batch, batch, batch]: at the example of the first place the angle between the two others. */
function cosines(x: Tensor): Tensor {
  const apart = differences(x);
  const unit = div(apart, sqrt(maximum(sum(square(apart), -1, { keepDims: true }), LEAST_LENGTH_SQUARE)));
  return matmul(unit, unit, { transB: true });
}

/** x²/2 up to 1, |x| − ½ beyond. */
function huber(x: Tensor): Tensor {
  const size = abs(x);
  return where(lessEqual(size, 1), mul(square(x), 0.5), add(size, -0.5));
}
