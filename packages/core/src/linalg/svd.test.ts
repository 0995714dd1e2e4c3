import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linalgGolden, relativeError } from "../../test/linalg-golden.js";
import { Rng } from "../rng.js";
import { lowRank } from "./low-rank.js";
import { firstRows, identity, type Matrix, matrix, times, timesTransposed, transpose } from "./matrix.js";
import { type Svd, svd } from "./svd.js";

const random = (rows: number, columns: number, seed: number): Matrix => {
  const rng = new Rng(seed);
  return matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => rng.normal()),
  );
};
const rebuilt = ({ values, left, right }: Svd, rank = values.length): Matrix =>
  times(
    transpose({ ...firstRows(left, rank), data: firstRows(left, rank).data.map((v, i) => v * values[Math.floor(i / left.columns)]!) }),
    firstRows(right, rank),
  );
interface Golden {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly rank: number;
  readonly matrix: readonly number[];
  readonly values: readonly number[];
  readonly best?: readonly number[];
}
/** A matrix with these singular values. */
function withValues(rows: number, columns: number, values: readonly number[], seed: number): Matrix {
  const [u, v] = [svd(random(rows, values.length, seed)).left, svd(random(values.length, columns, seed + 1)).right];
  return rebuilt({ values: Float64Array.from(values), left: u, right: v });
}

describe("svd", () => {
  it("hand-worked", () => {
    const { values, left, right } = svd(matrix(2, 2, [0, 2, 3, 0]));
    expect(Array.from(values)).toEqual([3, 2]);
    expect(Array.from(left.data, Math.abs)).toEqual([0, 1, 1, 0]);
    expect(Array.from(right.data, Math.abs)).toEqual([1, 0, 0, 1]);
  });

  it.each(linalgGolden<Golden[]>("svd").map((c) => [c.name, c] as const))("equals NumPy's: %s", (_name, c) => {
    const a = matrix(c.rows, c.columns, c.matrix);
    const found = svd(a);
    expect(relativeError(found.values, c.values)).toBeLessThan(1e-13);
    expect(relativeError(rebuilt(found).data, a.data)).toBeLessThan(1e-14);
    if (c.best) expect(relativeError(rebuilt(found, c.rank).data, c.best)).toBeLessThan(1e-12);
  });

  it("has orthonormal vectors and rebuilds the matrix, of any shape and rank", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(999),
        (m, n, k, seed) => {
          const a = times(random(m, k, seed), random(k, n, seed + 1));
          const found = svd(a);
          const rank = Math.min(m, n, k);
          expect(found.values.filter((v) => v > 1e-10).length).toBe(rank);
          for (const vectors of [firstRows(found.left, rank), firstRows(found.right, rank)])
            expect(relativeError(timesTransposed(vectors, vectors).data, identity(rank).data)).toBeLessThan(1e-10);
          expect(relativeError(rebuilt(found).data, a.data)).toBeLessThan(1e-12);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("lowRank", () => {
  // Large enough to be found by iterating a subspace.
  const values = Array.from({ length: 150 }, (_, i) => 5 * 0.93 ** i);
  const large = withValues(170, 300, values, 3);

  it("of a large matrix finds the values and the approximation of the whole decomposition", () => {
    for (const a of [large, transpose(large)]) {
      const found = lowRank(a, { rank: 12 }, new Rng(1));
      expect(found.values.length).toBe(12);
      expect(relativeError(found.values, values.slice(0, 12))).toBeLessThan(1e-8);
      const whole = svd(a);
      expect(relativeError(rebuilt(found).data, rebuilt(whole, 12).data)).toBeLessThan(1e-4);
    }
  });

  it("loses no more than the best approximation where values fall slowly", () => {
    const slow = withValues(
      200,
      150,
      Array.from({ length: 150 }, (_, i) => 1 / (1 + 0.02 * i)),
      9,
    );
    const found = lowRank(slow, { rank: 20 }, new Rng(2));
    const held = (s: ArrayLike<number>): number =>
      Array.from(s)
        .slice(0, 20)
        .reduce((a, v) => a + v * v, 0);
    expect(held(found.values) / held(svd(slow).values)).toBeGreaterThan(0.999);
  });

  it("takes the fewest values that hold the energy", () => {
    const total = values.reduce((s, v) => s + v * v, 0);
    for (const energy of [0.5, 0.9, 0.99]) {
      const { values: found } = lowRank(large, { rank: 150, energy }, new Rng(1));
      const held = (n: number): number => values.slice(0, n).reduce((s, v) => s + v * v, 0) / total;
      expect(held(found.length)).toBeGreaterThanOrEqual(energy - 1e-9);
      expect(held(found.length - 1)).toBeLessThan(energy);
    }
    expect(lowRank(large, { rank: 7, energy: 0.999 }, new Rng(1)).values.length).toBe(7);
  });

  it("leaves out what is zero or below the least value; same seed, same bits", () => {
    expect(lowRank(matrix(3, 4), { rank: 2 }, new Rng(0)).values.length).toBe(0);
    expect(lowRank(withValues(200, 200, [3, 2, 1], 5), { rank: 20, least: 1e-9 }, new Rng(0)).values.length).toBe(3);
    expect(lowRank(matrix(2, 2, [3, 0, 0, 1]), { rank: 2, least: 1 }, new Rng(0)).values.length).toBe(1);
    expect(lowRank(large, { rank: 5 }, new Rng(4))).toEqual(lowRank(large, { rank: 5 }, new Rng(4)));
  });
});
