import { kernels } from "./kernels.js";
import type { MergeTensor } from "./merge-method.js";
import { HIGH, LOW, rank, type Threshold } from "./radix-select.js";
import { toTaskVectors } from "./task-vectors.js";

/**
 * One tensor's part in finding the limits of whole task vectors: in the first round f64 [models × 65536], how often each value of the upper 16
 * bits of a magnitude occurs; in the second [models × 32768], the lower 15 bits of those that share the upper bits of the limit.
 */
export function countMagnitudes(tensor: MergeTensor<unknown, unknown>, density: readonly number[]): Float64Array {
  const k = kernels();
  const mark = k.mark();
  try {
    const [first] = tensor.totals;
    const size = first ? LOW : HIGH;
    const at = density.map(() => k.takeBytes(4 * size));
    for (const a of at) k.u32(a, size).fill(0);
    const highs = first ? limits(first, HIGH, density) : [];
    tensor.read((chunk) => {
      toTaskVectors(chunk);
      for (const [i, values] of chunk.models.entries()) {
        if (first) k.fn.countLow(values.byteOffset, values.length, highs[i]!.bucket, at[i]!);
        else k.fn.countHigh(values.byteOffset, values.length, at[i]!);
      }
    });
    const counts = new Float64Array(density.length * size);
    for (const [i, a] of at.entries()) counts.set(k.u32(a, size), i * size);
    return counts;
  } finally {
    k.release(mark);
  }
}

/** The limits after both rounds; every entry that reaches one stays, as in the authors' code. undefined: everything stays. */
export function modelThresholds(totals: readonly Float64Array[], density: readonly number[]): (Threshold | undefined)[] {
  const highs = limits(totals[0]!, HIGH, density);
  return density.map((d, i) => {
    if (d >= 1) return undefined;
    if (d <= 0) return { limit: 0x7fffffff, equal: 0 };
    const low = rank(totals[1]!.subarray(i * LOW, (i + 1) * LOW), highs[i]!.left);
    return { limit: highs[i]!.bucket * LOW + low.bucket, equal: Number.POSITIVE_INFINITY };
  });
}

function limits(counts: Float64Array, size: number, density: readonly number[]): { readonly bucket: number; readonly left: number }[] {
  return density.map((d, i) => {
    const own = counts.subarray(i * size, (i + 1) * size);
    const all = own.reduce((a, b) => a + b, 0);
    return rank(own, Math.max(1, Math.floor(d * all)));
  });
}
