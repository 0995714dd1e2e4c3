import { dot, type Matrix, matrix, row, type SymmetricEigen } from "@lfm/core/linalg";

/** Which eigenvectors of C, the second moments of keys, span what keys hardly reach. */
export type NullSpaceRule = { readonly threshold: number } | { readonly share: number };

/**
 * P·x for the projector P on the null space of C (arXiv 2410.02355, section 3.1): directions whose eigenvalue lies below a threshold, or the
 * smallest that together hold at most this share of Σλ.
 */
export class NullSpace {
  /** Eigenvectors whose span is left: the null space itself, or what x is freed of. */
  private readonly basis: Matrix;
  private readonly keeps: boolean;
  /** Directions that are free. */
  readonly dimensions: number;

  constructor({ values, vectors }: SymmetricEigen, rule: NullSpaceRule) {
    const n = values.length;
    this.dimensions = "threshold" in rule ? values.filter((v) => v < rule.threshold).length : smallestWithin(values, rule.share);
    // Eigenvalues fall: the free directions stand last. The smaller of the two sides is kept.
    this.keeps = this.dimensions <= n / 2;
    const [from, to] = this.keeps ? [n - this.dimensions, n] : [0, n - this.dimensions];
    this.basis = matrix(to - from, n, vectors.data.slice(from * n, to * n));
  }

  /** x — f64[n] */
  project(x: Float64Array): Float64Array {
    const sum = this.keeps ? new Float64Array(x.length) : x.slice();
    const sign = this.keeps ? 1 : -1;
    for (let i = 0; i < this.basis.rows; i++) {
      const v = row(this.basis, i);
      const f = sign * dot(v, x);
      for (let k = 0; k < sum.length; k++) sum[k] = sum[k]! + f * v[k]!;
    }
    return sum;
  }
}

/** How many of the smallest of falling values hold at most a share of all. */
function smallestWithin(values: Float64Array, share: number): number {
  const total = values.reduce((s, v) => s + Math.max(0, v), 0);
  let [count, held] = [0, 0];
  while (count < values.length && held + Math.max(0, values[values.length - 1 - count]!) <= share * total) {
    held += Math.max(0, values[values.length - 1 - count]!);
    count++;
  }
  return count;
}
