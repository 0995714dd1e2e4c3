import { convertFloat, isLfmError, Rng, widenToF32 } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { Kernels } from "./kernels.js";

/** Every kind of f32: random bits, subnormals, limits of f16 and bf16, ties between neighbours, infinities, NaN. */
function oddNumbers(): Float32Array {
  const rng = new Rng(1);
  const bits = Uint32Array.from({ length: 20_000 }, () => rng.uint32());
  const ties = Uint32Array.from({ length: 4_000 }, () => (rng.uint32() & 0xffff0000) | 0x8000);
  const halves = Uint32Array.from({ length: 4_000 }, () => 0x38000000 + ((rng.uint32() % 0x0f800000) & ~0x1fff) + 0x1000);
  const chosen = new Float32Array([
    0,
    -0,
    1,
    -1,
    65504,
    65519.99,
    65520,
    65536,
    1e38,
    Infinity,
    -Infinity,
    NaN,
    2 ** -14,
    2 ** -24,
    2 ** -25,
    1e-40,
  ]);
  const all = new Uint32Array([...bits, ...ties, ...halves, ...new Uint32Array(chosen.buffer)]);
  return new Float32Array(all.buffer);
}

const same = (got: ArrayLike<number>, want: ArrayLike<number>, isNaNAt: (i: number) => boolean): void => {
  for (let i = 0; i < want.length; i++) if (!isNaNAt(i) && got[i] !== want[i]) expect(`${i}: ${got[i]}`).toBe(`${i}: ${want[i]}`);
};

describe("kernels", () => {
  const k = new Kernels();
  const numbers = oddNumbers();
  // Not a multiple of a vector: what is left over is done one by one.
  const n = numbers.length - 3;
  const values = numbers.subarray(0, n);

  it.each(["bf16", "f16"] as const)("%s: narrowing, widening and rounding are those of core, NaN stays NaN and is reported", (dtype) => {
    const mark = k.mark();
    k.reserve(16 * n);
    const [a, b] = [k.take(n), k.take(n)];
    a.set(values);
    const { fn } = k;
    if (dtype === "bf16") fn.encodeBf16(a.byteOffset, b.byteOffset, n);
    else fn.encodeF16(a.byteOffset, b.byteOffset, n);
    const want = convertFloat({ dtype: "f32", shape: [n], data: values.slice() }, dtype);
    const narrow = new Uint16Array(k.fn.memory.buffer, b.byteOffset, n).slice();
    same(narrow, want.data as Uint16Array, (i) => Number.isNaN(values[i]));
    const wide = widenToF32({ dtype, shape: [n], data: narrow }).data as Float32Array;
    const bad = dtype === "bf16" ? fn.decodeBf16(b.byteOffset, a.byteOffset, n) : fn.decodeF16(b.byteOffset, a.byteOffset, n);
    expect(bad).toBe(1);
    same(a, wide, (i) => Number.isNaN(values[i]));
    for (let i = 0; i < n; i++) if (Number.isNaN(values[i])) expect(Number.isNaN(a[i])).toBe(true);
    a.set(values);
    if (dtype === "bf16") fn.roundBf16(a.byteOffset, n);
    else fn.roundF16(a.byteOffset, n);
    same(a, wide, (i) => Number.isNaN(values[i]));
    k.release(mark);
  });

  it.each(["bf16", "f16"] as const)("%s: all 65536 values widen as in core, also from the end of the array that they fill", (dtype) => {
    const mark = k.mark();
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const into = k.take(65536);
    new Uint16Array(k.fn.memory.buffer, into.byteOffset + 2 * 65536, 65536).set(all);
    if (dtype === "bf16") k.fn.decodeBf16(into.byteOffset + 2 * 65536, into.byteOffset, 65536);
    else k.fn.decodeF16(into.byteOffset + 2 * 65536, into.byteOffset, 65536);
    const want = widenToF32({ dtype, shape: [65536], data: all }).data as Float32Array;
    for (let i = 0; i < 65536; i++)
      if (!Object.is(into[i], want[i]) && !Number.isNaN(want[i])) expect(`${i}: ${into[i]}`).toBe(`${i}: ${want[i]}`);
    k.release(mark);
  });

  it("refuses more memory than was granted, gives back what is released", () => {
    const small = new Kernels();
    small.limit = 1 << 20;
    const mark = small.mark();
    small.take(1 << 17);
    expect(() => small.take(1 << 18)).toThrow(/granted/);
    small.release(mark);
    expect(small.take(1 << 18).length).toBe(1 << 18);
    try {
      small.takeBytes(16);
    } catch (e) {
      expect(isLfmError(e, "BUDGET_EXCEEDED")).toBe(true);
    }
  });

  it("random dropping depends on the place alone: any cut gives the same", () => {
    const mark = k.mark();
    const [a, b] = [k.take(1000).fill(1), k.take(1000).fill(1)];
    k.fn.keepRandom(a.byteOffset, 1000, 0, 7, 9, 2 ** 31);
    for (const [start, end] of [
      [0, 13],
      [13, 500],
      [500, 1000],
    ] as const)
      k.fn.keepRandom(b.byteOffset + 4 * start, end - start, start, 7, 9, 2 ** 31);
    expect(Array.from(a)).toEqual(Array.from(b));
    k.release(mark);
  });
});
