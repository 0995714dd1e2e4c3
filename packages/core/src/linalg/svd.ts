import { dot, identity, type Matrix, matrix, row, transpose } from "./matrix.js";

/** A = Σ σᵢ·leftᵢ·rightᵢᵀ. */
export interface Svd {
  /** σ, falling; min(rows, columns) of them. */
  readonly values: Float64Array;
  /** Row i is the i-th left singular vector. */
  readonly left: Matrix;
  /** Row i is the i-th right singular vector. Where σ is zero, one of the two vectors is zero as well. */
  readonly right: Matrix;
}

/** Cosine of two rows that counts as a right angle. */
const RIGHT_ANGLE = 1e-15;
/** Rows this much shorter than the matrix are rounding. */
const ROUNDING = 1e-16;
const SWEEPS = 40;

/**
 * Singular values by Jacobi rotations of rows (M. Hestenes, 1958): rotations make rows orthogonal, their lengths are the singular values.
 * Slow for large matrices, O(rows²·columns) a sweep and 5 to 10 sweeps, but simple, and small singular values keep their digits.
 */
export function svd(a: Matrix): Svd {
  if (a.rows > a.columns) {
    const { values, left, right } = svd(transpose(a));
    return { values, left: right, right: left };
  }
  const turned = matrix(a.rows, a.columns, a.data.slice());
  const rotations = identity(a.rows);
  const least = ROUNDING * ROUNDING * dot(a.data, a.data);
  const squares = (): Float64Array => Float64Array.from({ length: a.rows }, (_, i) => dot(row(turned, i), row(turned, i)));
  const byLength = (s: Float64Array): number[] => Array.from(s.keys()).sort((i, j) => s[j]! - s[i]!);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const order = byLength(squares());
    let rotated = false;
    for (let i = 0; i < order.length; i++)
      for (let j = i + 1; j < order.length; j++) rotated = rotate(turned, rotations, order[i]!, order[j]!, least) || rotated;
    if (!rotated) break;
  }
  const lengths = squares();
  const order = byLength(lengths);
  const values = Float64Array.from(order, (i) => Math.sqrt(lengths[i]!));
  const [left, right] = [matrix(a.rows, a.rows), matrix(a.rows, a.columns)];
  for (const [k, i] of order.entries()) {
    row(left, k).set(row(rotations, i));
    if (lengths[i]! > least) row(right, k).set(row(turned, i).map((v) => v / values[k]!));
    else values[k] = 0;
  }
  return { values, left, right };
}

/** Makes two rows orthogonal. @returns whether they were not */
function rotate(turned: Matrix, rotations: Matrix, p: number, q: number, least: number): boolean {
  const [x, y] = [row(turned, p), row(turned, q)];
  const [xx, yy, xy] = [dot(x, x), dot(y, y), dot(x, y)];
  if (xx <= least || yy <= least || Math.abs(xy) <= RIGHT_ANGLE * Math.sqrt(xx * yy)) return false;
  const zeta = (yy - xx) / (2 * xy);
  const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const c = 1 / Math.sqrt(1 + tangent * tangent);
  const s = c * tangent;
  turn(x, y, c, s);
  turn(row(rotations, p), row(rotations, q), c, s);
  return true;
}

function turn(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let i = 0; i < x.length; i++) {
    const u = x[i]!;
    const v = y[i]!;
    x[i] = c * u - s * v;
    y[i] = s * u + c * v;
  }
}
