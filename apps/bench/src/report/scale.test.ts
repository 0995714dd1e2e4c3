import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linearScale, logScale, niceDomain } from "./scale.js";
import { paretoFront } from "./scatter.js";

const finite = fc.double({ min: -1e6, max: 1e6, noNaN: true });
const positive = fc.double({ min: 1e-6, max: 1e9, noNaN: true });
/** Two values that differ by enough to be two. */
const interval = (value: fc.Arbitrary<number>) =>
  fc
    .tuple(value, value)
    .map(([a, b]) => (a < b ? ([a, b] as const) : ([b, a] as const)))
    .filter(([a, b]) => b - a > 1e-6 * Math.max(1, Math.abs(a), Math.abs(b)));

describe.each([
  ["linear", linearScale, finite],
  ["log", logScale, positive],
] as const)("%s scale", (_, make, value) => {
  it("takes the ends of the domain to the ends of the range", () => {
    fc.assert(
      fc.property(interval(value), ([a, b]) => {
        const s = make([a, b], [40, 360]);
        expect(s(a)).toBeCloseTo(40, 6);
        expect(s(b)).toBeCloseTo(360, 6);
      }),
    );
  });

  it("keeps order, turned where the range is turned", () => {
    fc.assert(
      fc.property(
        interval(value),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        ([a, b], s, t) => {
          const [low, high] = [a + Math.min(s, t) * (b - a), a + Math.max(s, t) * (b - a)];
          expect(make([a, b], [0, 100])(low)).toBeLessThanOrEqual(make([a, b], [0, 100])(high) + 1e-9);
          expect(make([a, b], [100, 0])(low)).toBeGreaterThanOrEqual(make([a, b], [100, 0])(high) - 1e-9);
        },
      ),
    );
  });

  it("inverts", () => {
    fc.assert(
      fc.property(interval(value), fc.double({ min: 0, max: 1, noNaN: true }), ([a, b], t) => {
        const s = make([a, b], [10, 290]);
        const pixel = 10 + 280 * t;
        expect(s(s.invert(pixel))).toBeCloseTo(pixel, 4);
      }),
    );
  });

  it("has ascending ticks within the domain, neither none nor a crowd", () => {
    fc.assert(
      fc.property(interval(value), fc.integer({ min: 2, max: 8 }), ([a, b], count) => {
        const ticks = make([a, b], [0, 100]).ticks(count);
        const slack = 1e-6 * Math.max(Math.abs(a), Math.abs(b));
        for (const t of ticks) expect(t >= a - slack && t <= b + slack).toBe(true);
        for (let i = 1; i < ticks.length; i++) expect(ticks[i]!).toBeGreaterThan(ticks[i - 1]!);
        expect(ticks.length).toBeLessThanOrEqual(2 * count + 6);
      }),
    );
  });

  it("has a middle for a domain of one value", () => {
    const s = make([5, 5], [0, 100]);
    expect(s(5)).toBeCloseTo(50, 6);
  });
});

describe("scales", () => {
  it("have round ticks", () => {
    expect(linearScale([0, 1], [0, 1]).ticks(5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(linearScale([-0.3, 0.32], [0, 1]).ticks(3)).toEqual([-0.2, 0, 0.2].map((v) => expect.closeTo(v, 12)));
    expect(logScale([1, 1e6], [0, 1]).ticks(7)).toEqual([1, 10, 100, 1e3, 1e4, 1e5, 1e6]);
    expect(logScale([3, 60], [0, 1]).ticks()).toEqual([5, 10, 20, 50]);
  });

  it("refuse a log of nothing", () => {
    expect(() => logScale([0, 1], [0, 1])).toThrow(RangeError);
  });

  it("widen to round ends that hold the values", () => {
    fc.assert(
      fc.property(interval(finite), ([a, b]) => {
        const [low, high] = niceDomain(a, b);
        const slack = 1e-9 * Math.max(1, Math.abs(a), Math.abs(b)) + 1e-8 * (b - a);
        expect(low).toBeLessThanOrEqual(a + slack);
        expect(high).toBeGreaterThanOrEqual(b - slack);
        expect(high - low).toBeLessThanOrEqual(2 * (b - a));
      }),
    );
  });
});

describe("Pareto front", () => {
  it("is what no smaller point reaches, of equal ones the higher", () => {
    const at = (x: number, y: number) => ({ x, y });
    expect(paretoFront([at(3, 5), at(1, 2), at(2, 1), at(3, 6), at(9, 6), at(10, 7), at(1, 1)])).toEqual([at(1, 2), at(3, 6), at(10, 7)]);
    expect(paretoFront([])).toEqual([]);
  });
});
