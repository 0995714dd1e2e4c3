import { kernels } from "./kernels.js";
import type { MergeChunk, MergeTensor } from "./merge-method.js";

/** Which entries of a run are among the k largest by magnitude: those whose bits are above `limit`, and `equal` of those that are at it. */
export interface Threshold {
  /** Bits of the k-th largest magnitude; bit patterns of magnitudes are ordered as the magnitudes are. */
  readonly limit: number;
  /** How many entries of exactly this magnitude belong to the k largest. */
  readonly equal: number;
}

export const HIGH = 1 << 16;
export const LOW = 1 << 15;

/**
 * The k-th largest magnitude of each model's run of values, exactly, in two passes over the tensor: one counts the upper 16 bits,
 * one the lower 15 of those that share the upper bits of the answer. NaN would count as larger than everything.
 * @param counts how many are the largest of each model, each from 1 to the tensor's elements
 * @param prepare turns the chunk's models into the values that are meant, in place (task vectors); elements stay in the order of the tensor
 */
export function selectThresholds(
  tensor: MergeTensor<unknown, unknown>,
  counts: readonly number[],
  prepare: (chunk: MergeChunk) => void,
): Threshold[] {
  const k = kernels();
  const mark = k.mark();
  try {
    const at = counts.map(() => k.takeBytes(4 * HIGH));
    const clear = (): void => {
      for (const a of at) k.u32(a, HIGH).fill(0);
    };
    clear();
    tensor.read((chunk) => {
      prepare(chunk);
      for (const [i, values] of chunk.models.entries()) k.fn.countHigh(values.byteOffset, values.length, at[i]!);
    });
    const high = counts.map((count, i) => rank(k.u32(at[i]!, HIGH), count));
    clear();
    tensor.read((chunk) => {
      prepare(chunk);
      for (const [i, values] of chunk.models.entries()) k.fn.countLow(values.byteOffset, values.length, high[i]!.bucket, at[i]!);
    });
    return high.map(({ bucket, left }, i) => {
      const low = rank(k.u32(at[i]!, LOW), left);
      return { limit: bucket * LOW + low.bucket, equal: low.left };
    });
  } finally {
    k.release(mark);
  }
}

/** The bucket that holds the count-th entry from the top, and how many of it are wanted. */
export function rank(counts: Uint32Array | Float64Array, count: number): { readonly bucket: number; readonly left: number } {
  let left = count;
  let bucket = counts.length - 1;
  while (bucket > 0 && counts[bucket]! < left) {
    left -= counts[bucket]!;
    bucket--;
  }
  return { bucket, left };
}
