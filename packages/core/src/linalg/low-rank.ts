import type { Rng } from "../rng.js";
import { dot, firstRows, type Matrix, matrix, row, times, timesTransposed } from "./matrix.js";
import { type Svd, svd } from "./svd.js";

/** Up to this side a matrix is decomposed whole. */
const SMALL = 128;
/** Vectors beyond those that are wanted: they take up what lies just below. */
const SPARE = 10;
const ROUNDS = 20;
const SETTLED = 1e-10;

export interface LowRankOptions {
  /** Most singular values. */
  readonly rank: number;
  /** Fewer, where so many already hold this share of Σσ². */
  readonly energy?: number;
  /** Least singular value that counts. */
  readonly least?: number;
}

/**
 * The largest singular values of a matrix with their vectors: of a small one by {@link svd}, of a large one by iterating a random subspace
 * (arXiv 0909.4061, alg. 4.4 and 5.1) until the energy in it no longer grows. Zero values are left out.
 */
export function lowRank(a: Matrix, options: LowRankOptions, rng: Rng): Svd {
  const side = Math.min(a.rows, a.columns);
  const total = dot(a.data, a.data);
  const { energy } = options;
  if (side <= SMALL) return cut(svd(a), options, total);
  for (let rank = energy === undefined ? options.rank : Math.min(16, options.rank); ; rank = Math.min(2 * rank, options.rank)) {
    if (rank + SPARE > side / 3) return cut(svd(a), options, total);
    const found = subspace(a, rank, rng);
    const held = squares(found.values.subarray(0, rank));
    if (energy === undefined || held >= energy * total || rank >= options.rank) return cut(found, options, total);
  }
}

function squares(values: Float64Array): number {
  return values.reduce((s, v) => s + v * v, 0);
}

function cut({ values, left, right }: Svd, { rank, energy, least = 0 }: LowRankOptions, total: number): Svd {
  let keep = 0;
  let held = 0;
  while (keep < Math.min(rank, values.length) && values[keep]! > least && !(energy !== undefined && held >= energy * total)) {
    held += values[keep]! ** 2;
    keep++;
  }
  return { values: values.slice(0, keep), left: firstRows(left, keep), right: firstRows(right, keep) };
}

function subspace(a: Matrix, rank: number, rng: Rng): Svd {
  const width = rank + SPARE;
  const random = matrix(
    width,
    a.columns,
    Float64Array.from({ length: width * a.columns }, () => rng.normal()),
  );
  let basis = orthonormal(timesTransposed(random, a));
  let last = 0;
  for (let round = 1; ; round++) {
    const { values, left, right } = svd(times(basis, a));
    const held = squares(values.subarray(0, rank));
    if (held - last <= SETTLED * held || round === ROUNDS) return { values, left: times(left, basis), right };
    last = held;
    basis = orthonormal(timesTransposed(right, a));
  }
}

/** Rows made orthonormal by Gram and Schmidt, twice over; rows that depend on others become zero. In place. */
function orthonormal(a: Matrix): Matrix {
  for (let i = 0; i < a.rows; i++) {
    const x = row(a, i);
    const before = Math.sqrt(dot(x, x));
    for (let pass = 0; pass < 2; pass++)
      for (let j = 0; j < i; j++) {
        const y = row(a, j);
        const f = dot(x, y);
        for (let k = 0; k < x.length; k++) x[k] = x[k]! - f * y[k]!;
      }
    const norm = Math.sqrt(dot(x, x));
    for (let k = 0; k < x.length; k++) x[k] = norm > 1e-13 * before ? x[k]! / norm : 0;
  }
  return a;
}
