import { expect, it } from "vitest";
import { f32, hostTensor, i32 } from "./dtype.js";
import { firstNonFinite, isFiniteTensor } from "./finite.js";
import { convertFloat } from "./small-floats.js";

it("tells NaN and infinities in every float type, and nothing else", () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const t = f32([1, bad, -3], [3]);
    for (const of of [t, hostTensor("f64", [1], Float64Array.of(bad)), convertFloat(t, "bf16"), convertFloat(t, "f16")])
      expect(isFiniteTensor(of), `${of.dtype} ${bad}`).toBe(false);
  }
  const large = f32([3.4e38, -3.4e38, 1e-45, -0, 0], [5]);
  for (const of of [large, f32([], [0]), i32([-1, 2 ** 31 - 1]), convertFloat(f32([60000, -1], [2]), "f16")])
    expect(isFiniteTensor(of), of.dtype).toBe(true);
  expect(firstNonFinite({ a: large, b: f32([Number.NaN], [1]), c: f32([Number.NaN], [1]) })).toBe("b");
  expect(firstNonFinite({ a: large })).toBeUndefined();
});
