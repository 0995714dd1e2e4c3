import { describe, expect, it } from "vitest";
import type { HostTensor } from "./dtype.js";
import { isLfmError } from "./errors.js";
import { Rng } from "./rng.js";
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
    const values = all.data as Uint16Array;
    const lost = values.filter((b, i) =>
      Number.isNaN(smallFloatToNumber(dtype, b)) ? !Number.isNaN(smallFloatToNumber(dtype, back[i]!)) : back[i] !== b,
    );
    expect([...lost]).toEqual([]);
    expect(values.length).toBe(dtype.startsWith("f8") ? 256 : 65536);
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

  it.each(["bf16", "f16", "f8e4m3", "f8e5m2"] as const)("%s: the nearest of all values, ties to even, from f32 and f64", (dtype) => {
    const all = [...widen(every(dtype))]
      .map((value, b) => ({ value, b }))
      .filter((x) => Number.isFinite(x.value) && !Object.is(x.value, -0));
    const sorted = all.sort((x, y) => x.value - y.value);
    const values = Float64Array.from(sorted, (x) => x.value);
    const nearest = (v: number): number => {
      let [lo, hi] = [0, values.length - 1];
      while (hi - lo > 1) {
        const mid = (lo + hi) >> 1;
        if (values[mid]! <= v) lo = mid;
        else hi = mid;
      }
      const [below, above] = [v - values[lo]!, values[hi]! - v];
      if (below === above) return (sorted[lo]!.b & 1) === 0 ? sorted[lo]!.value : sorted[hi]!.value;
      return below < above ? sorted[lo]!.value : sorted[hi]!.value;
    };
    const rng = new Rng(3);
    const range = Math.log2(values.at(-1)!);
    const smallest = Math.log2(values.find((v) => v > 0)!);
    const wide = Float64Array.from({ length: 20000 }, (_, i) => {
      // Every third value is a tie or one unit in the last place beside it.
      const at = rng.int(values.length - 1);
      const middle = (values[at]! + values[at + 1]!) / 2;
      if (i % 3 === 0) return middle * (1 + (rng.int(3) - 1) * Number.EPSILON);
      return (rng.int(2) * 2 - 1) * 2 ** (smallest - 2 + rng.uniform() * (range - smallest + 1.9));
    });
    for (const [source, data] of [
      ["f64", wide],
      ["f32", Float32Array.from(wide)],
    ] as const) {
      const got = widen(convertFloat({ dtype: source, shape: [wide.length], data }, dtype));
      const bad = [...data].findIndex((v, i) => got[i] !== nearest(v));
      expect(bad < 0 ? "" : `${source} ${data[bad]} became ${got[bad]}, not ${nearest(data[bad]!)}`).toBe("");
    }
  });

  it("keeps the sign of zeros, small numbers and infinities; NaN of every kind stays NaN", () => {
    expect(bits("f16", -0, -1e-30, 1e-30, Number.NEGATIVE_INFINITY, -1e30)).toEqual([0x8000, 0x8000, 0, 0xfc00, 0xfc00]);
    expect(bits("bf16", -0, Number.NEGATIVE_INFINITY, -3.4e38)).toEqual([0x8000, 0xff80, 0xff80]);
    const nans = new Float32Array(Uint32Array.of(0x7f800001, 0x7fffffff, 0xffc00000, 0xff800001).buffer);
    for (const dtype of ["bf16", "f16", "f8e4m3", "f8e5m2"] as const)
      expect([...widen(convertFloat({ dtype: "f32", shape: [4], data: nans }, dtype))]).toEqual([
        Number.NaN,
        Number.NaN,
        Number.NaN,
        Number.NaN,
      ]);
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
