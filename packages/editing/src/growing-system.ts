import { LfmError } from "@lfm/core";
import { dot } from "@lfm/core/linalg";

/**
 * (B·Bᵀ + λI)·y = eᵢ for rows B that are added one after the other: the Cholesky factor grows by a row for each, so that the thousandth costs
 * what its own row costs.
 */
export class GrowingSystem {
  private readonly rows: Float64Array[] = [];
  /** Row i of the lower triangular factor, f64[i + 1]. */
  private readonly factor: Float64Array[] = [];

  /** @param lambda λ > 0 */
  constructor(private readonly lambda: number) {}

  /** Takes rows off until `count` are left. */
  truncate(count: number): void {
    this.rows.length = count;
    this.factor.length = count;
  }

  /** @throws {LfmError} NUMERIC_DIVERGED for a row that is not finite */
  add(b: Float64Array): void {
    const n = this.rows.length;
    const l = new Float64Array(n + 1);
    for (let j = 0; j < n; j++) {
      const lj = this.factor[j]!;
      l[j] = (dot(b, this.rows[j]!) - dot(l.subarray(0, j), lj.subarray(0, j))) / lj[j]!;
    }
    const pivot = dot(b, b) + this.lambda - dot(l.subarray(0, n), l.subarray(0, n));
    // In exact numbers it is λ or more.
    if (!(pivot > 0))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/editing] the system of ${n + 1} keys is singular`, { hint: "raise l2" });
    l[n] = Math.sqrt(pivot);
    this.rows.push(b);
    this.factor.push(l);
  }

  /** Σᵢ yᵢ·bᵢ with y the solution for the unit vector of row `at`. */
  combination(at: number): Float64Array {
    const n = this.rows.length;
    const y = new Float64Array(n);
    // Forward: what stands above `at` stays 0.
    for (let i = at; i < n; i++) {
      const l = this.factor[i]!;
      y[i] = ((i === at ? 1 : 0) - dot(l.subarray(at, i), y.subarray(at, i))) / l[i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      const l = this.factor[i]!;
      const v = y[i]! / l[i]!;
      y[i] = v;
      for (let k = 0; k < i; k++) y[k] = y[k]! - l[k]! * v;
    }
    const sum = new Float64Array(this.rows[0]!.length);
    for (let i = 0; i < n; i++) {
      const [f, b] = [y[i]!, this.rows[i]!];
      for (let k = 0; k < sum.length; k++) sum[k] = sum[k]! + f * b[k]!;
    }
    return sum;
  }
}
