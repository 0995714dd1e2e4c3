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
    for (let j = 0; j <= i; j++) {
      let s = a[i * n + j]! + (i === j ? lift : 0);
      for (let k = 0; k < j; k++) s -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = s / l[j * n + j]!;
      else if (s > 1e-12 * (trace / n)) l[i * n + i] = Math.sqrt(s);
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
  const x = b.slice();
  const eliminate = (row: number, other: number, factor: number): void => {
    if (factor === 0) return;
    const [at, from] = [row * m, other * m];
    for (let c = 0; c < m; c++) x[at + c] = x[at + c]! - factor * x[from + c]!;
  };
  const scale = (row: number): void => {
    const pivot = l[row * n + row]!;
    for (let c = row * m; c < (row + 1) * m; c++) x[c] = x[c]! / pivot;
  };
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) eliminate(i, k, l[i * n + k]!);
    scale(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    scale(i);
    for (let k = 0; k < i; k++) eliminate(k, i, l[i * n + k]!);
  }
  return x;
}
