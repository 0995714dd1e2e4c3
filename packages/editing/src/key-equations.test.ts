import { cholesky, dot, matrix, row, symmetricEigen } from "@lfm/core/linalg";
import { describe, expect, it } from "vitest";
import { readGolden, relativeError } from "../test/golden-tensors.js";
import { GrowingSystem } from "./growing-system.js";
import { adjustedKeys, adjustedKeysByWidth } from "./key-equations.js";
import { NullSpace } from "./null-space.js";

const golden = readGolden<{ lambda: number; share: number; threshold: number; l2: number }>("equations");
const { lambda, share, threshold, l2 } = golden.json;
const covariance = golden.get("in/covariance").data as Float64Array;
const [few, many] = [golden.rows("in/few"), golden.rows("in/many")];
const eigen = symmetricEigen(matrix(24, 24, covariance));

/** R·A, flat. */
function update(residuals: readonly Float64Array[], rows: readonly Float64Array[]): number[] {
  const [out, width] = [residuals[0]!.length, rows[0]!.length];
  return Array.from({ length: out * width }, (_, at) => {
    const [o, i] = [Math.floor(at / width), at % width];
    return residuals.reduce((s, r, f) => s + r[o]! * rows[f]![i]!, 0);
  });
}

describe("updates given keys, residuals and C, against torch in f64", () => {
  it("MEMIT's in both forms", () => {
    const factor = cholesky(covariance, 0);
    for (const rows of [adjustedKeys(few, factor, lambda), adjustedKeysByWidth(few, covariance, lambda)])
      expect(relativeError(update(golden.rows("in/residuals_few"), rows), golden.get("memit/out/few").data)).toBeLessThan(1e-9);
    for (const rows of [adjustedKeys(many, factor, lambda), adjustedKeysByWidth(many, covariance, lambda)])
      expect(relativeError(update(golden.rows("in/residuals_many"), rows), golden.get("memit/out/many").data)).toBeLessThan(1e-9);
  });

  it("EMMET's, which gives every key its residual", () => {
    const rows = adjustedKeys(few, cholesky(covariance, 0), 0);
    expect(relativeError(update(golden.rows("in/residuals_few"), rows), golden.get("emmet/out/few").data)).toBeLessThan(1e-7);
    for (const [i, a] of rows.entries()) for (const [j, k] of few.entries()) expect(dot(a, k)).toBeCloseTo(i === j ? 1 : 0, 6);
  });

  it("AlphaEdit's projector and update, with earlier keys and without", () => {
    const space = new NullSpace(eigen, { share });
    const projected = few.map((k) => space.project(k));
    const wanted = golden.get("alphaedit/out/projected").data;
    const columns = Array.from({ length: 24 }, (_, i) => projected.map((p) => p[i]!)).flat();
    expect(relativeError(columns, wanted)).toBeLessThan(1e-9);
    const made = (rule: ConstructorParameters<typeof NullSpace>[1], past: readonly Float64Array[]): number[] => {
      const free = new NullSpace(eigen, rule);
      const system = new GrowingSystem(l2);
      for (const k of [...past, ...few]) system.add(free.project(k));
      return update(
        golden.rows("in/residuals_few"),
        few.map((_, i) => system.combination(past.length + i)),
      );
    };
    expect(relativeError(made({ share }, golden.rows("in/past")), golden.get("alphaedit/out/share").data)).toBeLessThan(1e-9);
    expect(relativeError(made({ threshold }, []), golden.get("alphaedit/out/threshold").data)).toBeLessThan(1e-9);
    // What flows along the large eigenvectors is not touched.
    const change = made({ share }, []);
    for (let top = 0; top < 24 - space.dimensions; top++) {
      const touched = Array.from({ length: 10 }, (_, o) =>
        dot(Float64Array.from(change.slice(o * 24, (o + 1) * 24)), row(eigen.vectors, top)),
      );
      expect(Math.hypot(...touched) / Math.hypot(...change)).toBeLessThan(1e-6);
    }
  });
});

describe("updates by hand", () => {
  const unit = Float64Array.of(1, 0, 0, 1);

  it("with C = I one key of length 5 is scaled by 1/(25 + λ), two that stand on each other each for itself", () => {
    const [alone] = adjustedKeys([Float64Array.of(3, 4)], unit, 25);
    expect(alone![0]).toBeCloseTo(0.06, 12);
    expect(alone![1]).toBeCloseTo(0.08, 12);
    const [a, b] = adjustedKeys([Float64Array.of(2, 0), Float64Array.of(0, 1)], unit, 1);
    expect([...a!, ...b!].map((v) => Number(v.toFixed(12)))).toEqual([0.4, 0, 0, 0.5]);
  });

  it("the longer the keys that stay count, the less is changed; keys that depend on each other have no exact update", () => {
    const length = (l: number): number => Math.hypot(...adjustedKeys([Float64Array.of(3, 4)], unit, l)[0]!);
    expect(length(1e9)).toBeLessThan(1e-8);
    expect(length(0)).toBeCloseTo(1 / 5, 12);
    const same = [Float64Array.of(1, 2), Float64Array.of(1, 2)];
    expect(() => adjustedKeys(same, unit, 0)).toThrowError(/singular/);
    for (const a of adjustedKeys(same, unit, 1)) expect(a[1]).toBeCloseTo(2 / 11, 12);
  });

  it("the null space of diag(4, 1, 0.01, 0): by threshold and by share, and both sides of it", () => {
    const diagonal = symmetricEigen(matrix(4, 4, [4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0.01, 0, 0, 0, 0, 0]));
    const x = Float64Array.of(1, 2, 3, 4);
    const kept = (rule: ConstructorParameters<typeof NullSpace>[1]): number[] =>
      [...new NullSpace(diagonal, rule).project(x)].map((v) => Number(v.toFixed(12)) + 0);
    expect(kept({ threshold: 0.02 })).toEqual([0, 0, 3, 4]);
    expect(kept({ threshold: 2 })).toEqual([0, 2, 3, 4]);
    expect(kept({ share: 0.001 })).toEqual([0, 0, 0, 4]);
    expect(kept({ share: 0.01 })).toEqual([0, 0, 3, 4]);
    expect(kept({ share: 1 })).toEqual([1, 2, 3, 4]);
  });

  it("AlphaEdit's update with everything free is MEMIT's with C = I", () => {
    const keys = [Float64Array.of(1, 2, 0), Float64Array.of(0, 1, 1)];
    const rows = adjustedKeys(keys, Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), 0.5);
    // (KᵀK + ½I)⁻¹·Kᵀ with KᵀK = [[5, 2], [2, 2]]: the determinant is 5.5·2.5 − 4 = 9.75.
    for (const [i, v] of [2.5 / 9.75, (2.5 * 2 - 2) / 9.75, -2 / 9.75].entries()) expect(rows[0]![i]).toBeCloseTo(v, 12);
    const system = new GrowingSystem(0.5);
    for (const k of keys) system.add(k);
    expect(
      relativeError(
        [...system.combination(0), ...system.combination(1)],
        rows.flatMap((r) => [...r]),
      ),
    ).toBeLessThan(1e-12);
  });

  it("a system that grew, was cut and grew again is the one that was made at once", () => {
    const rows = golden.rows("in/few");
    const [grown, once] = [new GrowingSystem(l2), new GrowingSystem(l2)];
    for (const r of [...rows.slice(0, 4), ...rows.slice(0, 3)]) grown.add(r);
    grown.truncate(4);
    for (const r of rows.slice(4)) grown.add(r);
    for (const r of rows) once.add(r);
    expect(grown.combination(5)).toEqual(once.combination(5));
    expect(() => once.add(new Float64Array(24).fill(Number.NaN))).toThrowError(/singular/);
  });
});
