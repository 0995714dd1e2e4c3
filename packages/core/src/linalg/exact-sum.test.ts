import { describe, expect, it } from "vitest";
import { Rng } from "../rng.js";
import { addDigits, DIGITS, fromDigits } from "./exact-sum.js";

const sum = (values: readonly number[]): number => {
  const digits = new Float64Array(DIGITS);
  for (const v of values) addDigits(digits, v);
  return fromDigits(digits);
};

describe("sums in digits", () => {
  it("gives a number back, from the square of the smallest f32 to that of the largest", () => {
    for (const v of [0, 1, 0.1, 12345.678, Math.PI * 2 ** 60, 2 ** -298, 1e-89 / 3, 1.2e77, 2 ** 290 - 2 ** 240]) expect(sum([v])).toBe(v);
  });

  it("does not depend on the order, where f64 does", () => {
    const rng = new Rng(1);
    const values = Array.from({ length: 200 }, () => Math.abs(rng.normal()) * 10 ** rng.int(20));
    const orders = Array.from({ length: 20 }, () => rng.shuffle(values));
    expect(new Set(orders.map((o) => o.reduce((a, b) => a + b, 0))).size).toBeGreaterThan(1);
    expect(new Set(orders.map(sum)).size).toBe(1);
    expect(sum([2 ** 60, 1, 2 ** -60, 1])).toBe(2 ** 60 + 2);
  });
});
