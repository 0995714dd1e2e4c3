import { LfmError } from "../errors.js";

/**
 * L with L·Lᵀ = A + ridge·mean(diag A)·I.
 * @param a f64[n·n] row-major, symmetric; only its lower triangle is read
 * @returns f64[n·n], lower triangular
 * @throws {LfmError} NUMERIC_DIVERGED when that is not positive definite
 */
export function cholesky(a: Float64Array, ridge: number): Float64Array {
  const n = Math.round(Math.sqrt(a.length));
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a[i * n + i]!;
  const lift = (ridge * trace) / n;
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    // Four columns at once: sums that do not wait for each other. Each is taken in the order of k, whatever stands beside it.
    const fours = i - (i % 4);
    for (let j = 0; j < fours; j += 4) {
      const [r0, r1, r2, r3] = [j * n, (j + 1) * n, (j + 2) * n, (j + 3) * n];
      let [s0, s1, s2, s3] = [a[row + j]!, a[row + j + 1]!, a[row + j + 2]!, a[row + j + 3]!];
      for (let k = 0; k < j; k++) {
        const v = l[row + k]!;
        s0 -= v * l[r0 + k]!;
        s1 -= v * l[r1 + k]!;
        s2 -= v * l[r2 + k]!;
        s3 -= v * l[r3 + k]!;
      }
      s0 /= l[r0 + j]!;
      s1 = (s1 - s0 * l[r1 + j]!) / l[r1 + j + 1]!;
      s2 = (s2 - s0 * l[r2 + j]! - s1 * l[r2 + j + 1]!) / l[r2 + j + 2]!;
      s3 = (s3 - s0 * l[r3 + j]! - s1 * l[r3 + j + 1]! - s2 * l[r3 + j + 2]!) / l[r3 + j + 3]!;
      l[row + j] = s0;
      l[row + j + 1] = s1;
      l[row + j + 2] = s2;
      l[row + j + 3] = s3;
    }
    for (let j = fours; j <= i; j++) {
      let s = a[row + j]! + (i === j ? lift : 0);
      for (let k = 0; k < j; k++) s -= l[row + k]! * l[j * n + k]!;
      if (i !== j) l[row + j] = s / l[j * n + j]!;
      else if (s > 1e-12 * (trace / n)) l[row + i] = Math.sqrt(s);
      else
        throw new LfmError("NUMERIC_DIVERGED", `[@lfm/core] a matrix of ${n} rows is singular at row ${i}: it has no Cholesky factor`, {
          hint: "raise the ridge, or take the matrix from more samples",
          details: { rows: n, row: i, pivot: s },
        });
    }
  }
  return l;
}

/**
 * X with L·Lᵀ·X = B.
 * @param l f64[n·n], the lower triangular factor of {@link cholesky}
 * @param b f64[n·m] row-major: m right-hand sides side by side, m from its length
 */
export function solveCholesky(l: Float64Array, b: Float64Array): Float64Array {
  const n = Math.round(Math.sqrt(l.length));
  const m = b.length / n;
  const x = new Float64Array(b.length);
  const y = new Float64Array(n);
  for (let c = 0; c < m; c++) {
    for (let i = 0; i < n; i++) {
      let s = b[i * m + c]!;
      for (let k = 0; k < i; k++) s -= l[i * n + k]! * y[k]!;
      y[i] = s / l[i * n + i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      const v = y[i]! / l[i * n + i]!;
      y[i] = v;
      for (let k = 0; k < i; k++) y[k] = y[k]! - l[i * n + k]! * v;
    }
    for (let i = 0; i < n; i++) x[i * m + c] = y[i]!;
  }
  return x;
}
