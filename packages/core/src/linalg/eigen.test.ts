import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linalgGolden, relativeError } from "../../test/linalg-golden.js";
import { Rng } from "../rng.js";
import { symmetricEigen } from "./eigen.js";
import { firstRows, identity, type Matrix, matrix, row, times, timesTransposed, transpose } from "./matrix.js";

/** Vᵀ·diag(λ)·V */
const rebuilt = (values: Float64Array, vectors: Matrix): Matrix =>
  times(transpose({ ...vectors, data: vectors.data.map((v, i) => v * values[Math.floor(i / vectors.columns)]!) }), vectors);

function symmetric(n: number, seed: number): Matrix {
  const rng = new Rng(seed);
  const a = matrix(n, n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) a.data[i * n + j] = a.data[j * n + i] = rng.normal();
  return a;
}

describe("eigenvalues of a symmetric matrix", () => {
  it("hand-worked: [[2, 1], [1, 2]] has 3 along (1, 1) and 1 along (1, −1)", () => {
    const { values, vectors } = symmetricEigen(matrix(2, 2, [2, 1, 1, 2]));
    expect(values[0]).toBeCloseTo(3, 14);
    expect(values[1]).toBeCloseTo(1, 14);
    const [u, v] = [row(vectors, 0), row(vectors, 1)];
    expect(u[0]! * u[1]!).toBeCloseTo(0.5, 14);
    expect(v[0]! * v[1]!).toBeCloseTo(-0.5, 14);
  });

  type Golden = { name: string; n: number; top: number; matrix: number[]; values: number[]; projection: number[] };
  it.each(linalgGolden<Golden[]>("eigen").map((c) => [c.name, c] as const))("equals NumPy's: %s", (_name, c) => {
    const { values, vectors } = symmetricEigen(matrix(c.n, c.n, c.matrix));
    expect(relativeError(values, c.values)).toBeLessThan(1e-14);
    const largest = firstRows(vectors, c.top);
    expect(relativeError(times(transpose(largest), largest).data, c.projection)).toBeLessThan(1e-9);
  });

  it("A·v = λ·v, vectors are orthonormal, values fall, and the trace is their sum", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(9999), (n, k, seed) => {
        // Every other matrix is of a rank k or less.
        const whole = symmetric(n, seed);
        const thin = firstRows(whole, Math.min(k, n));
        const a = seed % 2 === 0 ? whole : times(transpose(thin), thin);
        const { values, vectors } = symmetricEigen(a);
        expect(relativeError(timesTransposed(vectors, vectors).data, identity(n).data)).toBeLessThan(1e-13);
        expect(relativeError(rebuilt(values, vectors).data, a.data)).toBeLessThan(1e-13);
        const size = Math.max(...values.map(Math.abs), Number.MIN_VALUE);
        const images = timesTransposed(vectors, a).data;
        expect(Math.max(...images.map((v, k) => Math.abs(v - values[Math.floor(k / n)]! * vectors.data[k]!)))).toBeLessThan(1e-13 * size);
        expect(values.toSorted((x, y) => y - x)).toEqual(values);
        const trace = Array.from({ length: n }, (_, i) => a.data[i * n + i]!).reduce((s, v) => s + v, 0);
        expect(Math.abs(values.reduce((s, v) => s + v, 0) - trace)).toBeLessThan(1e-13 * n * size);
      }),
      { numRuns: 80, seed: 1 },
    );
  });

  it("keeps zeros, tiny and huge numbers; reads the lower triangle alone and changes nothing", () => {
    expect(Array.from(symmetricEigen(matrix(3, 3)).values)).toEqual([0, 0, 0]);
    for (const size of [1e-150, 1e150]) {
      const { values } = symmetricEigen(matrix(2, 2, [2 * size, size, size, 2 * size]));
      expect(relativeError(values, [3 * size, size])).toBeLessThan(1e-14);
    }
    const upper = matrix(3, 3, [4, 99, 99, 1, 3, 99, 0.5, -1, 2]);
    const before = upper.data.slice();
    expect(symmetricEigen(upper).values).toEqual(symmetricEigen(matrix(3, 3, [4, 1, 0.5, 1, 3, -1, 0.5, -1, 2])).values);
    expect(upper.data).toEqual(before);
  });

  it("refuses what is not square or not finite", () => {
    expect(() => symmetricEigen(matrix(2, 3))).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    expect(() => symmetricEigen(matrix(1, 1, [Number.NaN]))).toThrow(expect.objectContaining({ code: "NUMERIC_DIVERGED" }));
  });
});
