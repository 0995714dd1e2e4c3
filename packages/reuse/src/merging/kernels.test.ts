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

  it.each([0, 1, 2] as const)("sums of runs, alone, on a base and relative to one, are those of f32 arithmetic (%i)", (how) => {
    const mark = k.mark();
    const rng = new Rng(4);
    const runs = [0, 1, 2].map(() => k.take(77));
    const [base, out] = [k.take(77), k.take(77)];
    for (const run of [...runs, base]) for (let i = 0; i < 77; i++) run[i] = rng.normal();
    const weights = Float32Array.of(0.3, -1.2, 0.7);
    const [xs, ws] = [k.takeBytes(12), k.takeBytes(12)];
    k.u32(xs, 3).set(runs.map((run) => run.byteOffset));
    k.f32(ws, 3).set(weights);
    k.fn.combine(xs, ws, 3, how > 0 ? base.byteOffset : 0, out.byteOffset, 77, how > 1 ? 1 : 0);
    const f = Math.fround;
    for (let i = 0; i < 77; i++) {
      const terms = runs.map((run, m) => f(f(how > 1 ? run[i]! - base[i]! : run[i]!) * weights[m]!));
      const sum = terms.reduce((a, b) => f(a + b), -0);
      expect(out[i]).toBe(how > 0 ? f(sum + base[i]!) : sum);
    }
    k.release(mark);
  });

  it("random dropping depends on the place alone: any cut gives the same; its norms are those of what it leaves", () => {
    const mark = k.mark();
    const [a, b, base] = [k.take(1000), k.take(1000), k.take(1000)];
    const rng = new Rng(5);
    for (let i = 0; i < 1000; i++) [a[i], base[i]] = [rng.normal(), rng.normal()];
    b.set(a);
    const whole = a.map((v, i) => v - base[i]!);
    const keys = [7, 9, 2 ** 31] as const;
    const all = k.fn.sumDropped(a.byteOffset, base.byteOffset, 1000, 0, ...keys);
    const kept = k.fn.sumKept.value;
    k.fn.dropRandom(a.byteOffset, base.byteOffset, 1000, 0, ...keys);
    for (const [start, end] of [
      [0, 13],
      [13, 500],
      [500, 1000],
    ] as const)
      k.fn.dropRandom(b.byteOffset + 4 * start, base.byteOffset + 4 * start, end - start, start, ...keys);
    expect(Array.from(a)).toEqual(Array.from(b));
    for (const [i, v] of a.entries()) expect(v === 0 || v === whole[i]).toBe(true);
    const norm = (values: Float32Array): number => values.reduce((s, v) => s + Math.abs(v), 0);
    expect(Math.abs(all / norm(whole) - 1)).toBeLessThan(1e-6);
    expect(Math.abs(kept / norm(a) - 1)).toBeLessThan(1e-6);
    k.release(mark);
  });

  it("what is dropped is even over places and free of what other keys drop", () => {
    const n = 1 << 16;
    const mark = k.mark();
    k.reserve(3 * 4 * n);
    const [base, first, second] = [k.take(n).fill(0), k.take(n).fill(1), k.take(n).fill(1)];
    k.fn.dropRandom(first.byteOffset, base.byteOffset, n, 0, 1, 2, 2 ** 31);
    // Keys of models may resemble each other: near, or the same in one half.
    for (const [key, key2] of [
      [1, 3],
      [0, 2],
      [3, 2],
      [1 + 2 ** 31, 2],
    ] as const) {
      second.fill(1);
      k.fn.dropRandom(second.byteOffset, base.byteOffset, n, 0, key, key2, 2 ** 31);
      const both = first.reduce((s, v, i) => s + v * second[i]!, 0);
      expect(Math.abs(both - n / 4), `${key}, ${key2}`).toBeLessThan(5 * Math.sqrt((n * 3) / 16));
    }
    for (const stride of [2, 3, 64, 256, 1024]) {
      const share = first.filter((_, i) => i % stride === 1);
      expect(Math.abs(share.reduce((s, v) => s + v, 0) - share.length / 2), `every ${stride}th`).toBeLessThan(
        2.5 * Math.sqrt(share.length),
      );
      const repeated = first.reduce((s, v, i) => s + v * (first[i + stride] ?? 0), 0);
      expect(Math.abs(repeated - n / 4), `${stride} apart`).toBeLessThan(6 * Math.sqrt((n * 3) / 16));
    }
    k.release(mark);
  });
});
