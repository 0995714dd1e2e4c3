// How rows are made of vectors f32[count, d].
import { dot, HEAD } from "./similarity";

/** Largest magnitude of an i8 row. */
const STEPS: f32 = 127;

/** i8 rows: each vector by its own scale, rounded to the nearest. */
export function quantize(vectors: usize, count: i32, d: i32, out: usize, stride: i32): void {
  for (let i = 0; i < count; i++) {
    const x = vectors + <usize>i * (<usize>d << 2);
    const row = out + <usize>i * <usize>stride;
    let most: f32 = 0;
    for (let j = 0; j < d; j++) most = max<f32>(most, abs<f32>(load<f32>(x + (<usize>j << 2))));
    const inverse: f32 = most > 0 ? STEPS / most : 0;
    memory.fill(row, 0, <usize>stride);
    let sum = 0;
    for (let j = 0; j < d; j++) {
      const code = <i32>nearest<f32>(load<f32>(x + (<usize>j << 2)) * inverse);
      store<i8>(row + HEAD + <usize>j, <i8>code);
      sum += code * code;
    }
    const scale = most / STEPS;
    store<f32>(row, scale);
    store<f32>(row, scale * scale * <f32>sum, 4);
  }
}

/** Rows of d bits, the first in the lowest place: 1 where a number is not negative. */
export function signs(vectors: usize, count: i32, d: i32, out: usize, stride: i32): void {
  memory.fill(out, 0, <usize>count * <usize>stride);
  for (let i = 0; i < count; i++) {
    const x = vectors + <usize>i * (<usize>d << 2);
    const row = out + <usize>i * <usize>stride;
    for (let j = 0; j < d; j++) {
      if (!(load<f32>(x + (<usize>j << 2)) >= 0)) continue;
      const at = row + (<usize>j >> 3);
      store<u8>(at, <u8>(<i32>load<u8>(at) | (1 << (j & 7))));
    }
  }
}

/**
 * For each vector the centre with the largest x·c + offset, into i32[count] at `out` and that value into f32[count] at `values`: with offsets −½‖c‖² it
 * is the nearest.
 */
export function assign(vectors: usize, count: i32, d: i32, centres: usize, k: i32, offsets: usize, out: usize, values: usize): void {
  for (let i = 0; i < count; i++) {
    const x = vectors + <usize>i * (<usize>d << 2);
    let best: f32 = -Infinity;
    let found = 0;
    for (let c = 0; c < k; c++) {
      const value = dot(x, centres + <usize>c * (<usize>d << 2), d) + load<f32>(offsets + (<usize>c << 2));
      if (value > best) {
        best = value;
        found = c;
      }
    }
    store<i32>(out + (<usize>i << 2), found);
    store<f32>(values + (<usize>i << 2), best);
  }
}

/** f32[m, 256] of a question f32[m·d]: its part's product with each of 256 centres f32[m, 256, d], or minus the squared distance. */
export function fillTables(question: usize, centres: usize, m: i32, d: i32, distances: bool, out: usize): void {
  const width = <usize>d << 2;
  for (let i = 0; i < m; i++) {
    const x = question + <usize>i * width;
    for (let c = 0; c < 256; c++) {
      const y = centres + (<usize>(i * 256 + c)) * width;
      let value: f32 = 0;
      if (distances) {
        for (let j = 0; j < d; j++) {
          const p = load<f32>(x + (<usize>j << 2)) - load<f32>(y + (<usize>j << 2));
          value -= p * p;
        }
      } else value = dot(x, y, d);
      store<f32>(out + (<usize>(i * 256 + c) << 2), value);
    }
  }
}
