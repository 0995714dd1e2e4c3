import { describe, expect, it } from "vitest";
import { isLfmError } from "../errors.js";
import { Rng } from "../rng.js";
import { cholesky, solveCholesky } from "./cholesky.js";

describe("cholesky", () => {
  it("hand-worked: A = [[4, 2], [2, 3]] has the factor [[2, 0], [1, √2]]", () => {
    expect([...cholesky(Float64Array.of(4, 2, 2, 3), 0)]).toEqual([2, 0, 1, Math.SQRT2]);
    // A·(1, −1) = (2, −1)
    const x = solveCholesky(cholesky(Float64Array.of(4, 2, 2, 3), 0), Float64Array.of(2, -1));
    expect(x[0]).toBeCloseTo(1, 14);
    expect(x[1]).toBeCloseTo(-1, 14);
  });

  it("solves many right-hand sides at once", () => {
    const [n, m] = [12, 5];
    const rng = new Rng(3);
    const r = Array.from({ length: n * n }, () => rng.normal());
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) for (let k = 0; k < n; k++) a[i * n + j] = a[i * n + j]! + r[i * n + k]! * r[j * n + k]!;
    const x = Float64Array.from({ length: n * m }, () => rng.normal());
    const b = new Float64Array(n * m);
    for (let i = 0; i < n; i++)
      for (let c = 0; c < m; c++) for (let k = 0; k < n; k++) b[i * m + c] = b[i * m + c]! + a[i * n + k]! * x[k * m + c]!;
    const found = solveCholesky(cholesky(a, 0), b);
    for (const [i, v] of found.entries()) expect(v).toBeCloseTo(x[i]!, 8);
  });

  it("refuses a singular matrix, and takes it with a ridge", () => {
    const singular = Float64Array.of(1, 1, 1, 1);
    let error: unknown;
    try {
      cholesky(singular, 0);
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "NUMERIC_DIVERGED") && error.message).toContain("singular at row 1");
    expect(() => cholesky(singular, 1e-3)).not.toThrow();
  });
});
