import { type HostTensor, sizeOf, widenToF32 } from "@lfm/core";
import type { AxisUse } from "./permutation-spec.js";

/** Everything that belongs to each unit in one parameter, as a row: f32[units, rest]. */
export interface UnitRows {
  readonly rows: Float32Array;
  readonly width: number;
}

/** Brings the axis of a use to the front. */
export function unitRows(tensor: HostTensor, use: AxisUse, units: number): UnitRows {
  const data = widenToF32(tensor).data as Float32Array;
  const length = tensor.shape[use.axis]!;
  const inner = sizeOf(tensor.shape.slice(use.axis + 1));
  const outer = sizeOf(tensor.shape.slice(0, use.axis));
  const width = outer * inner * use.block;
  const rows = new Float32Array(units * width);
  for (let u = 0; u < units; u++) {
    let at = u * width;
    for (let o = 0; o < outer; o++) {
      const from = (o * length + use.offset + u * use.block) * inner;
      rows.set(data.subarray(from, from + use.block * inner), at);
      at += use.block * inner;
    }
  }
  return { rows, width };
}

/** gram[i, j] += ⟨row i of a, row j of b⟩, summed in f64. */
export function addInnerProducts(gram: Float64Array, units: number, a: UnitRows, b: UnitRows): void {
  const { width } = a;
  const [x, y] = [a.rows, b.rows];
  // Four columns at once and strips of rows that stay in cache.
  const strip = Math.max(1, Math.min(width, 2048));
  for (let from = 0; from < width; from += strip) {
    const to = Math.min(width, from + strip);
    for (let i = 0; i < units; i++) {
      const xi = i * width;
      let j = 0;
      for (; j + 3 < units; j += 4) {
        const [y0, y1, y2, y3] = [j * width, (j + 1) * width, (j + 2) * width, (j + 3) * width];
        let s0 = 0;
        let s1 = 0;
        let s2 = 0;
        let s3 = 0;
        for (let k = from; k < to; k++) {
          const v = x[xi + k]!;
          s0 += v * y[y0 + k]!;
          s1 += v * y[y1 + k]!;
          s2 += v * y[y2 + k]!;
          s3 += v * y[y3 + k]!;
        }
        const at = i * units + j;
        gram[at]! += s0;
        gram[at + 1]! += s1;
        gram[at + 2]! += s2;
        gram[at + 3]! += s3;
      }
      for (; j < units; j++) {
        let s = 0;
        for (let k = from; k < to; k++) s += x[xi + k]! * y[j * width + k]!;
        gram[i * units + j]! += s;
      }
    }
  }
}
