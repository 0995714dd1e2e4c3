import { HIGH, LOW, rank, type Threshold } from "./radix-select.js";

/** Nothing is above all bits. */
const NONE: Threshold = { limit: 0x7fffffff, equal: 0 };

/**
 * The k largest magnitudes of sequences that are not held, for several k each, exactly, in two runs over them: the first counts the upper
 * 16 bits of each magnitude, the second the lower 15 of those that share the upper bits of an answer. A magnitude's bits grow with it.
 * For quantities that are made on the way (variances, importances), or of which several places are needed; {@link selectThresholds}
 * is the faster way to one place of each model.
 * @param places for each sequence the k's, from 0 (nothing) to its length; asked for after the first run
 * @param run hands all values of each sequence to `count`, the same both times, in any number of parts
 */
export function orderStatistics(
  sequences: number,
  places: () => readonly (readonly number[])[],
  run: (count: (sequence: number, values: Float32Array) => void) => void,
): Threshold[][] {
  const high = Array.from({ length: sequences }, () => new Uint32Array(HIGH));
  run((sequence, values) => {
    const counts = high[sequence]!;
    const bits = bitsOf(values);
    for (let i = 0; i < bits.length; i++) counts[(bits[i]! & 0x7fffffff) >>> 15]!++;
  });
  const wanted = places().map((ks, s) => ks.map((k) => (k === 0 ? undefined : rank(high[s]!, k))));
  const low = wanted.map((found) => new Map(found.flatMap((f) => (f ? [[f.bucket, new Uint32Array(LOW)] as const] : []))));
  run((sequence, values) => {
    const bits = bitsOf(values);
    for (const [bucket, counts] of low[sequence]!)
      for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7fffffff) >>> 15 === bucket) counts[bits[i]! & (LOW - 1)]!++;
  });
  return wanted.map((found, s) =>
    found.map((f) => {
      if (!f) return NONE;
      const { bucket, left } = rank(low[s]!.get(f.bucket)!, f.left);
      return { limit: f.bucket * LOW + bucket, equal: left };
    }),
  );
}

/**
 * Marks in `kept` which of the magnitudes are among the k largest, on parts of a sequence in their order; of equal ones the first are.
 * @returns how many at the limit are left to be kept after these; the threshold's `equal` is what the first part starts with
 */
export function markLargest(values: Float32Array, { limit }: Threshold, equal: number, kept: Uint8Array): number {
  const bits = bitsOf(values);
  let left = equal;
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]! & 0x7fffffff;
    // 1 where limit − b is negative: which side an entry is on cannot be foretold, and a branch would wait for it.
    kept[i] = (limit - b) >>> 31;
    if (b === limit && left > 0) {
      left--;
      kept[i] = 1;
    }
  }
  return left;
}

/** Zeroes the entries whose mark is 0, in place; marks are 0 or 1. */
export function keepMarked(values: Float32Array, kept: Uint8Array): void {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) bits[i] = bits[i]! & -kept[i]!;
}

/** The f32 that a threshold stands for. */
export function magnitudeAt({ limit }: Threshold): number {
  return new Float32Array(Uint32Array.of(limit).buffer)[0]!;
}

export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
