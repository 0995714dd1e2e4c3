import { Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { incompleteBeta, shareOf } from "./binomial.js";
import { allowsFpr, areaUnderRoc, rocCurve, tprAtFpr } from "./roc.js";

it("two normal distributions give the area and the rates of their closed form", () => {
  const rng = new Rng(3);
  const draw = (mean: number): Float64Array => {
    const values = new Float64Array(1_000_000);
    for (let i = 0; i < values.length; i++) values[i] = mean + rng.normal();
    return values.sort();
  };
  const scores = { nonMembers: draw(0), members: draw(2) };
  // Φ(√2); 1 − Φ(2.3263 − 2); 1 − Φ(3.0902 − 2).
  const { value, low, high } = areaUnderRoc(scores);
  expect(Math.abs(value - 0.9214)).toBeLessThan(0.005);
  expect(low).toBeLessThan(0.92135);
  expect(high).toBeGreaterThan(0.92135);
  const percent = tprAtFpr(scores, 0.01);
  expect(Math.abs(percent.tpr.value - 0.372)).toBeLessThan(0.005);
  expect(Math.abs(percent.threshold - 2.3263)).toBeLessThan(0.02);
  expect(percent.reached.hits).toBe(10_000);
  expect(Math.abs(tprAtFpr(scores, 0.001).tpr.value - 0.138)).toBeLessThan(0.005);
  const curve = rocCurve(scores, 100);
  expect(curve.length).toBeLessThanOrEqual(100);
  expect([curve[0], curve.at(-1)]).toEqual([
    [0, 0],
    [1, 1],
  ]);
});

it("by hand: three members and two others", () => {
  const scores = { members: [1, 3, 4], nonMembers: [2, 3] };
  // Pairs: 1 below both; 3 above 2 and level with 3; 4 above both.
  expect(areaUnderRoc(scores).value).toBeCloseTo((0 + 1.5 + 2) / 6, 12);
  expect(tprAtFpr(scores, 0)).toMatchObject({ tpr: { hits: 1, of: 3 }, reached: { hits: 0 }, threshold: 4 });
  expect(tprAtFpr(scores, 0.5)).toMatchObject({ tpr: { hits: 2, of: 3 }, reached: { hits: 1 }, threshold: 3 });
  expect(tprAtFpr(scores, 1)).toMatchObject({ tpr: { hits: 3 }, reached: { hits: 2 }, threshold: 1 });
  expect(rocCurve(scores)).toEqual([
    [0, 0],
    [0, 1 / 3],
    [0.5, 2 / 3],
    [1, 2 / 3],
    [1, 1],
  ]);
});

it("non-members of one score count together: a threshold cannot part them", () => {
  const scores = { members: [5, 5, 5, 6], nonMembers: [5, 5, 1, 1] };
  expect(tprAtFpr(scores, 0.25)).toMatchObject({ tpr: { hits: 1 }, reached: { hits: 0 } });
  expect(tprAtFpr(scores, 0.5)).toMatchObject({ tpr: { hits: 4 }, reached: { hits: 2 } });
});

it("Clopper–Pearson intervals as tables have them", () => {
  // scipy.stats.binomtest(k, n).proportion_ci(method="exact")
  const known: readonly (readonly [number, number, number, number])[] = [
    [0, 10, 0, 0.30849710781876294],
    [3, 10, 0.06673951117773447, 0.652452850060008],
    [10, 10, 0.6915028921812371, 1],
    [50, 1000, 0.03733539760466063, 0.06539048791549365],
  ];
  for (const [k, n, low, high] of known) {
    const share = shareOf(k, n);
    expect(share.low, `${k} of ${n}`).toBeCloseTo(low, 10);
    expect(share.high, `${k} of ${n}`).toBeCloseTo(high, 10);
  }
  expect(shareOf(0, 0)).toMatchObject({ low: 0, high: 1 });
  // Exact also where there are many: P(X ≤ 5000 of 10⁶) at the upper limit is 2.5 %, by the identity of binomial and beta.
  const { low, high } = shareOf(5000, 1_000_000);
  expect(1 - incompleteBeta(high, 5001, 995_000)).toBeCloseTo(0.025, 9);
  expect(incompleteBeta(low, 5000, 995_001)).toBeCloseTo(0.025, 9);
});

it("says for which rates there are enough non-members, and refuses what cannot be told apart", () => {
  expect(allowsFpr({ nonMembers: new Float64Array(3000) }, 0.001)).toBe(true);
  expect(allowsFpr({ nonMembers: new Float64Array(2999) }, 0.001)).toBe(false);
  expect(() => tprAtFpr({ members: [], nonMembers: [1] }, 0.1)).toThrow("no members");
  expect(() => areaUnderRoc({ members: [Number.NaN], nonMembers: [1] })).toThrow("no number");
  expect(() => tprAtFpr({ members: [1], nonMembers: [1] }, 2)).toThrow("outside 0..1");
});
