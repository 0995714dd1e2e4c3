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
    for (const bits of bitsOf(values)) counts[(bits & 0x7fffffff) >>> 15]!++;
  });
  const wanted = places().map((ks, s) => ks.map((k) => (k === 0 ? undefined : rank(high[s]!, k))));
  const low = wanted.map((found) => new Map(found.flatMap((f) => (f ? [[f.bucket, new Uint32Array(LOW)] as const] : []))));
  run((sequence, values) => {
    for (const [bucket, counts] of low[sequence]!)
      for (const bits of bitsOf(values)) if ((bits & 0x7fffffff) >>> 15 === bucket) counts[bits & (LOW - 1)]!++;
  });
  return wanted.map((found, s) =>
    found.map((f) => {
      if (!f) return NONE;
      const { bucket, left } = rank(low[s]!.get(f.bucket)!, f.left);
      return { limit: f.bucket * LOW + bucket, equal: left };
    }),
  );
}

/** Tells of magnitudes, given as bits in the order of their sequence, whether each is among the k largest; of equal ones the first are. */
export function membership({ limit, equal }: Threshold): (bits: number) => boolean {
  let left = equal;
  return (bits) => bits > limit || (bits === limit && left-- > 0);
}

/** The f32 that a threshold stands for. */
export function magnitudeAt({ limit }: Threshold): number {
  return new Float32Array(Uint32Array.of(limit).buffer)[0]!;
}

export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
