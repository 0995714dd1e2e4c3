import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linalgGolden } from "../../test/linalg-golden.js";
import { isLfmError } from "../errors.js";
import { Draws } from "../testing/draws.js";
import { solveAssignment } from "./assignment.js";

describe("linear assignment", () => {
  it("hand-worked", () => {
    // Rows 0, 1, 2 take columns 1, 0, 2: 1 + 2 + 2 = 5. Row 1's cheapest entry, the 0, would leave 3 + 3 or 4 + 2 for the others.
    expect(solveAssignment(Float64Array.of(4, 1, 3, 2, 0, 5, 3, 2, 2), 3, 3)).toEqual({ columns: Int32Array.of(1, 0, 2), value: 5 });
    expect(solveAssignment(Float64Array.of(4, 1, 3, 2, 0, 5, 3, 2, 2), 3, 3, { maximize: true }).value).toBe(4 + 5 + 2);
    expect(solveAssignment(Float64Array.of(7, 3, 9, 1), 1, 4).columns).toEqual(Int32Array.of(3));
  });

  it("is SciPy's linear_sum_assignment, up to 256 rows, square and not, least and largest", () => {
    type Case = { seed: number; rows: number; columns: number; maximize: boolean; value: number; chosen: number[] };
    for (const c of linalgGolden<Case[]>("assignment")) {
      const got = solveAssignment(new Draws(c.seed).array(c.rows * c.columns), c.rows, c.columns, { maximize: c.maximize });
      expect(Array.from(got.columns)).toEqual(c.chosen);
      expect(Math.abs(got.value - c.value)).toBeLessThanOrEqual(1e-12 * c.rows);
    }
  });

  it("is never beaten by any of all assignments, ties and negative numbers included", () => {
    const matrix = fc.integer({ min: 1, max: 6 }).chain((rows) =>
      fc.integer({ min: rows, max: 7 }).chain((columns) =>
        fc.record({
          rows: fc.constant(rows),
          columns: fc.constant(columns),
          scores: fc.array(fc.integer({ min: -4, max: 4 }), { minLength: rows * columns, maxLength: rows * columns }),
        }),
      ),
    );
    fc.assert(
      fc.property(matrix, ({ rows, columns, scores }) => {
        const { columns: chosen, value } = solveAssignment(Float64Array.from(scores), rows, columns);
        expect(new Set(chosen).size).toBe(rows);
        expect(value).toBe(cheapest(scores, rows, columns, 0, new Set()));
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it("a constant on a row or a column changes nothing but the value; the order of rows does not matter", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 0, max: 1 << 30 }), (n, seed) => {
        const scores = new Draws(seed).array(n * n);
        const plain = solveAssignment(scores, n, n);
        const shifted = solveAssignment(
          scores.map((v, k) => v + 3 * Math.floor(k / n) - (k % n)),
          n,
          n,
        );
        expect(shifted.columns).toEqual(plain.columns);
        const reversed = solveAssignment(scores.slice().reverse(), n, n);
        expect(
          Array.from(reversed.columns)
            .reverse()
            .map((c) => n - 1 - c),
        ).toEqual(Array.from(plain.columns));
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it("refuses more rows than columns, and what is not a number", () => {
    const error = (f: () => unknown): unknown => {
      try {
        return f();
      } catch (e) {
        return e;
      }
    };
    expect(
      isLfmError(
        error(() => solveAssignment(new Float64Array(6), 3, 2)),
        "SHAPE_MISMATCH",
      ),
    ).toBe(true);
    expect(
      isLfmError(
        error(() => solveAssignment(Float64Array.of(1, Number.NaN, 2, 3), 2, 2)),
        "NUMERIC_DIVERGED",
      ),
    ).toBe(true);
  });
});

function cheapest(scores: readonly number[], rows: number, columns: number, row: number, taken: ReadonlySet<number>): number {
  if (row === rows) return 0;
  let best = Number.POSITIVE_INFINITY;
  for (let j = 0; j < columns; j++)
    if (!taken.has(j)) best = Math.min(best, scores[row * columns + j]! + cheapest(scores, rows, columns, row + 1, new Set([...taken, j])));
  return best;
}
