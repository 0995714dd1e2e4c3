const BITS = 11;
const BUCKETS = 1 << BITS;

/**
 * The k-th largest magnitude of `values` (k from 1), exactly, in three passes over the bits: the bit pattern of a magnitude grows with it.
 * NaN counts as larger than everything.
 */
export function kthLargest(values: Float32Array, k: number): number {
  const bits = new Uint32Array(values.length);
  const raw = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = raw[i]! & 0x7fffffff;
  let [prefix, mask, rank] = [0, 0, k];
  for (const shift of [2 * BITS, BITS, 0]) {
    const counts = new Uint32Array(BUCKETS);
    for (const b of bits) {
      if ((b & mask) === prefix) {
        const bucket = (b >>> shift) & (BUCKETS - 1);
        counts[bucket] = counts[bucket]! + 1;
      }
    }
    let bucket = BUCKETS - 1;
    while (counts[bucket]! < rank) {
      rank -= counts[bucket]!;
      bucket--;
    }
    prefix |= bucket << shift;
    mask |= (BUCKETS - 1) << shift;
  }
  return new Float32Array(Uint32Array.of(prefix).buffer)[0]!;
}

/**
 * The ⌊density·n⌋ largest magnitudes (at least one), zero elsewhere. Of entries of equal magnitude at the limit the first are kept, so that
 * exactly as many stay as were asked for.
 */
export function trimTo(values: Float32Array, density: number): Float32Array {
  const keep = Math.max(1, Math.floor(density * values.length));
  if (density >= 1 || values.length === 0) return values;
  const limit = kthLargest(values, keep);
  let above = 0;
  for (const v of values) if (Math.abs(v) > limit) above++;
  let equal = keep - above;
  return values.map((v) => (Math.abs(v) > limit || (Math.abs(v) === limit && equal-- > 0) ? v : 0));
}
