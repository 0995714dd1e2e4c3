import { kernels } from "../merging/kernels.js";
import type { ValueSource } from "../merging/tensor-statistics.js";

/** Elements that a source is asked for at a time; chunks of a merge are no longer. */
export const CHUNK = 1 << 15;

/**
 * Arrays for values that are read beside a merge, in the kernels' memory, where sources of files put them. They are views: `body` asks anew for
 * each chunk. @throws {LfmError} BUDGET_EXCEEDED
 */
export function withScratch<T>(arrays: number, elements: number, body: (scratch: (i: number, length: number) => Float32Array) => T): T {
  const k = kernels();
  const mark = k.mark();
  try {
    const at = Array.from({ length: arrays }, () => k.takeBytes(4 * Math.min(CHUNK, elements)));
    return body((i, length) => k.f32(at[i]!, length));
  } finally {
    k.release(mark);
  }
}

/** Calls `visit` on all values of a source, in order, a chunk at a time. */
export function eachChunk(source: ValueSource, elements: number, visit: (values: Float32Array, start: number) => void): void {
  withScratch(1, elements, (scratch) => {
    for (let start = 0; start < elements; start += CHUNK) {
      const part = scratch(0, Math.min(CHUNK, elements - start));
      source.read(start, part);
      visit(part, start);
    }
  });
}

/** All values of a source, on the heap. */
export function readWhole(source: ValueSource, elements: number): Float32Array {
  const whole = new Float32Array(elements);
  eachChunk(source, elements, (values, start) => whole.set(values, start));
  return whole;
}
