import { cholesky, dot, identity, solveCholesky } from "@lfm/core/linalg";

/**
 * Rows a₁ … aₙ of A with ΔW = R·A, the least change that is measured by C (arXiv 2210.07229, equation 14, and 2403.14236, equation 12):
 *   A = Kᵀ(λC + KKᵀ)⁻¹ = (λI + KᵀC⁻¹K)⁻¹·KᵀC⁻¹
 * The second form takes one system of the size of the facts and C's factor, which is made once for all edits; with λ = 0 it is the change after
 * which every key gets exactly its residual more.
 * @param keys k₁ … kₙ, f64[in] each; @param factor Cholesky factor of C
 * @returns f64[in] each
 * @throws {LfmError} NUMERIC_DIVERGED for keys that depend on each other, where λ is 0
 */
export function adjustedKeys(keys: readonly Float64Array[], factor: Float64Array, lambda: number): Float64Array[] {
  const whitened = keys.map((k) => solveCholesky(factor, k));
  const n = keys.length;
  const inner = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) inner[i * n + j] = dot(keys[i]!, whitened[j]!) + (i === j ? lambda : 0);
  return combined(solveCholesky(cholesky(inner, 0), identity(n).data), whitened);
}

/** The same in the first form, for more keys than they are wide: one system of the keys' width. */
export function adjustedKeysByWidth(keys: readonly Float64Array[], covariance: Float64Array, lambda: number): Float64Array[] {
  const d = keys[0]!.length;
  const sum = covariance.map((c) => lambda * c);
  for (const k of keys)
    for (let i = 0; i < d; i++) {
      const f = k[i]!;
      for (let j = 0; j <= i; j++) sum[i * d + j]! += f * k[j]!;
    }
  const factor = cholesky(sum, 0);
  return keys.map((k) => solveCholesky(factor, k));
}

/** Σⱼ wᵢⱼ·xⱼ for each row i of weights f64[n·n]. */
function combined(weights: Float64Array, vectors: readonly Float64Array[]): Float64Array[] {
  const n = vectors.length;
  return vectors.map((first, i) => {
    const sum = new Float64Array(first.length);
    for (let j = 0; j < n; j++) {
      const [w, x] = [weights[i * n + j]!, vectors[j]!];
      for (let k = 0; k < sum.length; k++) sum[k] = sum[k]! + w * x[k]!;
    }
    return sum;
  });
}
