import { describe, expect, it } from "vitest";
import { blocksToF32, quantizeToBlocks } from "./block-weights.js";
import { f32, type HostTensor } from "./dtype.js";
import { isLfmError } from "./errors.js";
import { Rng } from "./rng.js";
import { convertFloat, widenToF32 } from "./small-floats.js";

const [n, k] = [6, 64];
const rng = new Rng(5);
const normal = f32(rng.normalArray(n * k, 0.05), [n, k]);
const rounded = (t: HostTensor, dtype: "bf16" | "f16"): HostTensor => widenToF32(convertFloat(t, dtype));
const half = (x: number): number => Number(rounded(f32([x]), "f16").data[0]);

/** GGUF's Q4_1: d·q + m with halves d and m, the ends of every block taken. */
const onFour = f32(
  Array.from({ length: (n * k) / 32 }, (_, b) => {
    const [d, m] = [half(0.01 + 0.003 * b), half(-0.1 - 0.01 * b)];
    return Array.from({ length: 32 }, (_, i) => Math.fround(d * (i < 16 ? i : rng.int(16)) + m));
  }).flat(),
  [n, k],
);
/** GGUF's Q8_0. */
const onEight = f32(
  Array.from({ length: (n * k) / 32 }, (_, b) =>
    Array.from({ length: 32 }, (_, i) => half(0.001 + 0.0002 * b) * (i === 0 ? -127 : rng.int(255) - 127)),
  ).flat(),
  [n, k],
);

const error = (a: HostTensor, b: HostTensor): number =>
  Array.from(a.data as Float32Array).reduce((sum, v, i) => sum + (v - Number(b.data[i])) ** 2, 0);

describe("weights in blocks", () => {
  it("are held exactly on the grid that they were made on, also where a file has rounded them since", () => {
    for (const [values, bytes] of [
      [onFour, 16],
      [onEight, 32],
    ] as const) {
      const { matrix, block, exact } = quantizeToBlocks(values);
      expect([block, exact]).toEqual([32, 1]);
      expect(matrix.codes.shape).toEqual([n, k / 32, bytes]);
      expect(blocksToF32(matrix, block)).toEqual(values);
      for (const dtype of ["bf16", "f16"] as const) {
        const file = rounded(values, dtype);
        const again = quantizeToBlocks(file, { dtype });
        expect(again.exact).toBe(1);
        expect(rounded(blocksToF32(again.matrix, block), dtype)).toEqual(file);
      }
    }
  });

  it("take 4 bits, a scale in f32 and an offset in a half", () => {
    const { codes, scale, offset } = quantizeToBlocks(normal).matrix;
    expect([codes.data.byteLength, scale.data.byteLength, offset!.data.byteLength]).toEqual([192, 48, 24]);
    // 0 for the smallest value of a block, 15 for the largest, the first of two in the low half.
    const ramp = quantizeToBlocks(
      f32(
        Array.from({ length: 32 }, (_, i) => i % 16),
        [1, 32],
      ),
    ).matrix;
    expect([...(ramp.codes.data as Uint8Array).subarray(0, 3)]).toEqual([0x10, 0x32, 0x54]);
  });

  it("lose less with searched scales, and least where it counts", () => {
    const importance = f32(Array.from({ length: k }, (_, i) => (i % 8 === 0 ? 100 : 0.1)));
    const of = (options: Parameters<typeof quantizeToBlocks>[1]): HostTensor => blocksToF32(quantizeToBlocks(normal, options).matrix, 32);
    const [ends, searched, weighed] = [of({ search: false }), of({}), of({ importance })];
    expect(error(searched, normal)).toBeLessThan(0.95 * error(ends, normal));
    const important = (t: HostTensor): HostTensor => f32((t.data as Float32Array).filter((_, i) => i % 8 === 0));
    expect(error(important(weighed), important(normal))).toBeLessThan(0.5 * error(important(searched), important(normal)));
  });

  it("hold 8 bits beside columns in f32", () => {
    const { matrix, block } = quantizeToBlocks(normal, { bits: 8, columns: [5, 40] });
    const back = blocksToF32(matrix, block);
    for (const [i, v] of (normal.data as Float32Array).entries()) {
      const found = Number(back.data[i]);
      if (i % k === 5 || i % k === 40) expect(found).toBe(v);
      else expect(Math.abs(found - v)).toBeLessThan(0.001);
    }
  });

  it("are not of every width", () => {
    let error: unknown;
    try {
      quantizeToBlocks(f32(new Float32Array(24), [2, 12]));
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "SHAPE_MISMATCH")).toBe(true);
  });
});
