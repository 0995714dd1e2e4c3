import { LfmError } from "../errors.js";
import { dot, identity, type Matrix, matrix, row } from "./matrix.js";

/** A = Σ λᵢ·vᵢvᵢᵀ. */
export interface SymmetricEigen {
  /** λ, falling. */
  readonly values: Float64Array;
  /** Row i is the eigenvector of the i-th value; rows are orthonormal. */
  readonly vectors: Matrix;
}

/** Rounds of one eigenvalue; two are usual. */
const ROUNDS = 50;

/**
 * Eigenvalues and eigenvectors of a symmetric matrix in f64: Householder's reflections make it tridiagonal, QL rotations with implicit shifts
 * make that diagonal (Golub & Van Loan, Matrix Computations, §8.3). About 5·n³ operations.
 * @param a [n, n], finite; only its lower triangle is read
 * @throws {LfmError} SHAPE_MISMATCH for one that is not square, NUMERIC_DIVERGED for one that is not finite
 */
export function symmetricEigen(a: Matrix): SymmetricEigen {
  const { rows: n } = a;
  if (n !== a.columns) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] eigenvalues: a matrix of [${n}, ${a.columns}] is not square`);
  if (!a.data.every(Number.isFinite))
    throw new LfmError("NUMERIC_DIVERGED", `[@lfm/core] eigenvalues: the matrix of [${n}, ${n}] holds numbers that are not finite`);
  const { diagonal, below, basis } = tridiagonal(a);
  diagonalise(diagonal, below, basis);
  const order = Array.from(diagonal.keys()).sort((i, j) => diagonal[j]! - diagonal[i]!);
  const vectors = matrix(n, n);
  for (const [k, i] of order.entries()) row(vectors, k).set(row(basis, i));
  return { values: Float64Array.from(order, (i) => diagonal[i]!), vectors };
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** f64[n]: what stands below the diagonal, the last one 0. */
  readonly below: Float64Array;
  /** Qᵀ with A = Q·T·Qᵀ. */
  readonly basis: Matrix;
}

function tridiagonal(a: Matrix): Tridiagonal {
  const n = a.rows;
  const s = matrix(n, n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) s.data[i * n + j] = s.data[j * n + i] = a.data[i * n + j]!;
  const basis = identity(n);
  const below = new Float64Array(n);
  for (let k = 0; k < n - 1; k++) {
    // Row k equals column k: I − βvvᵀ maps its part right of the diagonal to a multiple of the first unit vector.
    const v = row(s, k).slice(k + 1);
    const length = Math.sqrt(dot(v, v));
    const target = v[0]! > 0 ? -length : length;
    below[k] = target;
    v[0] = v[0]! - target;
    const vv = dot(v, v);
    if (vv === 0) continue;
    const beta = 2 / vv;
    const rest = (i: number): Float64Array => row(s, k + 1 + i).subarray(k + 1);
    const p = v.map((_, i) => beta * dot(rest(i), v));
    const half = (beta / 2) * dot(p, v);
    const w = p.map((x, i) => x - half * v[i]!);
    for (let i = 0; i < v.length; i++) {
      const to = rest(i);
      const [vi, wi] = [v[i]!, w[i]!];
      for (let j = 0; j < v.length; j++) to[j] = to[j]! - vi * w[j]! - wi * v[j]!;
    }
    reflectRows(basis, v, k + 1, beta);
  }
  return { diagonal: Float64Array.from({ length: n }, (_, i) => s.data[i * n + i]!), below, basis };
}

/** Rows from `first` on, multiplied from the left with I − βvvᵀ. */
function reflectRows(a: Matrix, v: Float64Array, first: number, beta: number): void {
  const along = new Float64Array(a.columns);
  for (let i = 0; i < v.length; i++) {
    const from = row(a, first + i);
    for (let j = 0; j < along.length; j++) along[j] = along[j]! + v[i]! * from[j]!;
  }
  for (let i = 0; i < v.length; i++) {
    const to = row(a, first + i);
    const f = beta * v[i]!;
    for (let j = 0; j < along.length; j++) to[j] = to[j]! - f * along[j]!;
  }
}

/** In place: `diagonal` becomes the eigenvalues, the rows of `basis` their vectors. */
function diagonalise(diagonal: Float64Array, below: Float64Array, basis: Matrix): void {
  const n = diagonal.length;
  for (let first = 0; first < n; first++)
    for (let round = 0; ; round++) {
      let end = first;
      while (end < n - 1 && !isSmall(below[end]!, diagonal[end]!, diagonal[end + 1]!)) end++;
      if (end === first) break;
      if (round === ROUNDS)
        throw new LfmError("NUMERIC_DIVERGED", `[@lfm/core] eigenvalues: number ${first} of ${n} does not settle in ${ROUNDS} rounds`);
      sweep(diagonal, below, basis, first, end);
    }
}

function isSmall(below: number, above: number, next: number): boolean {
  return Math.abs(below) <= Number.EPSILON * (Math.abs(above) + Math.abs(next));
}

/** One QL sweep with Wilkinson's shift over the block first..end. */
function sweep(diagonal: Float64Array, below: Float64Array, basis: Matrix, first: number, end: number): void {
  const half = (diagonal[first + 1]! - diagonal[first]!) / (2 * below[first]!);
  const root = Math.hypot(half, 1);
  const shift = diagonal[first]! - below[first]! / (half + (half < 0 ? -root : root));
  let g = diagonal[end]! - shift;
  let [sine, cosine, lost] = [1, 1, 0];
  for (let i = end - 1; i >= first; i--) {
    const f = sine * below[i]!;
    const b = cosine * below[i]!;
    const r = Math.hypot(f, g);
    below[i + 1] = r;
    if (r === 0) {
      // The block falls into two.
      diagonal[i + 1] = diagonal[i + 1]! - lost;
      below[end] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = diagonal[i + 1]! - lost;
    const t = (diagonal[i]! - g) * sine + 2 * cosine * b;
    lost = sine * t;
    diagonal[i + 1] = g + lost;
    g = cosine * t - b;
    const [x, y] = [row(basis, i), row(basis, i + 1)];
    for (let k = 0; k < x.length; k++) {
      const [u, v] = [x[k]!, y[k]!];
      y[k] = sine * u + cosine * v;
      x[k] = cosine * u - sine * v;
    }
  }
  diagonal[first] = diagonal[first]! - lost;
  below[first] = g;
  below[end] = 0;
}
