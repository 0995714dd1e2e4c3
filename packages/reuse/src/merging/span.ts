import { kernels } from "./kernels.js";
import type { MergeTensor } from "./merge-method.js";
import { prepareSum, toTaskVectors } from "./task-vectors.js";

/** Inner products of vectors, f64 [n][n]. What is spherical about a merge needs nothing else: its result is a combination of its inputs. */
export type Gram = readonly Float64Array[];

/** Of the models, or with a base of their task vectors, in one pass. Products are summed in f64. */
export function gramOf(tensor: MergeTensor<unknown, unknown>): Gram {
  const { fn } = kernels();
  const n = tensor.models.length;
  const gram = Array.from({ length: n }, () => new Float64Array(n));
  tensor.read((chunk) => {
    if (tensor.hasBase) toTaskVectors(chunk);
    const { models, length } = chunk;
    for (let i = 0; i < n; i++)
      for (let j = i; j < n; j++) gram[i]![j] = gram[i]![j]! + fn.dot(models[i]!.byteOffset, models[j]!.byteOffset, length);
  });
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) gram[i]![j] = gram[j]![i]!;
  return gram;
}

/** Writes Σ cᵢθᵢ, or with a base θ₀ + Σ cᵢ(θᵢ − θ₀). */
export function writeCombination(tensor: MergeTensor<unknown, unknown>, coefficients: readonly number[]): void {
  const k = kernels();
  const mark = k.mark();
  try {
    const sum = prepareSum(coefficients);
    tensor.write(({ models, base }, out) => sum(models, out, tensor.hasBase ? base : undefined, tensor.hasBase));
  } finally {
    k.release(mark);
  }
}

/** xᵀ G y: the inner product of two combinations. */
export function inner(gram: Gram, x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < gram.length; i++) for (let j = 0; j < gram.length; j++) sum += x[i]! * gram[i]![j]! * y[j]!;
  return sum;
}

/** √(xᵀ G x); rounding below zero counts as zero. */
export function length(gram: Gram, x: ArrayLike<number>): number {
  return Math.sqrt(Math.max(0, inner(gram, x, x)));
}

/** Inner products of the vectors divided by `norms`; those of no length stay zero. */
export function normalized(gram: Gram, norms: readonly number[]): Gram {
  return gram.map((row, i) => row.map((g, j) => (norms[i]! > 0 && norms[j]! > 0 ? g / (norms[i]! * norms[j]!) : 0)));
}

export function clampCosine(cos: number): number {
  return Math.min(1, Math.max(-1, cos));
}
