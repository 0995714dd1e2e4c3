import { describe, expect, it } from "vitest";
import type { HostTensor } from "./dtype.js";
import { isLfmError } from "./errors.js";
import { convertFloat, type SmallFloat, smallFloatToNumber, widen, widenToF32 } from "./small-floats.js";

const every = (dtype: SmallFloat): HostTensor => {
  const n = dtype.startsWith("f8") ? 256 : 65536;
  return {
    dtype,
    shape: [n],
    data: n === 256 ? Uint8Array.from({ length: n }, (_, i) => i) : Uint16Array.from({ length: n }, (_, i) => i),
  };
};
const bits = (dtype: SmallFloat, ...values: number[]): number[] => [
  ...(convertFloat({ dtype: "f64", shape: [values.length], data: Float64Array.from(values) }, dtype).data as Uint16Array),
];

describe("small floats", () => {
  it.each(["bf16", "f16", "f8e4m3", "f8e5m2"] as const)("%s: every bit pattern survives widening and narrowing", (dtype) => {
    const all = every(dtype);
    const back = convertFloat({ dtype: "f32", shape: all.shape, data: widen(all) }, dtype).data as Uint16Array;
    for (const [i, b] of back.entries()) {
      const value = smallFloatToNumber(dtype, i);
      if (Number.isNaN(value)) expect(smallFloatToNumber(dtype, b)).toBeNaN();
      else expect(b).toBe(i);
    }
  });

  it("knows the values of the standards", () => {
    expect(smallFloatToNumber("f16", 0x3c00)).toBe(1);
    expect(smallFloatToNumber("f16", 0x7bff)).toBe(65504);
    expect(smallFloatToNumber("f16", 0x0001)).toBe(2 ** -24);
    expect(smallFloatToNumber("f8e4m3", 0x7e)).toBe(448);
    expect(smallFloatToNumber("f8e4m3", 0x7f)).toBeNaN();
    expect(smallFloatToNumber("f8e5m2", 0x7b)).toBe(57344);
    expect(smallFloatToNumber("f8e5m2", 0xfc)).toBe(Number.NEGATIVE_INFINITY);
  });

  it("rounds halves to even, overflows as the standards say", () => {
    // 1 + 2⁻¹¹ lies in the middle of two halves: down to the even one; 1 + 3·2⁻¹¹: up
    expect(bits("f16", 1 + 2 ** -11, 1 + 3 * 2 ** -11)).toEqual([0x3c00, 0x3c02]);
    expect(bits("bf16", 1 + 2 ** -8, 1 + 3 * 2 ** -8)).toEqual([0x3f80, 0x3f82]);
    expect(bits("f16", 65519, 65520, -0, 2 ** -25, 2 ** -25 * 1.01)).toEqual([0x7bff, 0x7c00, 0x8000, 0, 1]);
    expect(bits("f8e4m3", 464, 465, 1e9)).toEqual([0x7e, 0x7f, 0x7f]);
    expect(bits("f8e5m2", 1e9, Number.POSITIVE_INFINITY)).toEqual([0x7c, 0x7c]);
  });

  it("widens integers and copies floats; refuses to narrow integers", () => {
    const f: HostTensor = { dtype: "f32", shape: [1], data: Float32Array.of(3) };
    expect(widenToF32(f).data).not.toBe(f.data);
    expect([...(widenToF32({ dtype: "i64", shape: [2], data: BigInt64Array.of(5n, -6n) }).data as Float32Array)]).toEqual([5, -6]);
    let error: unknown;
    try {
      convertFloat({ dtype: "i32", shape: [1], data: Int32Array.of(1) }, "bf16");
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "DTYPE_UNSUPPORTED")).toBe(true);
  });
});
