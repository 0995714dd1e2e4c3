import type { Rng } from "@lfm/core";
import { bitsOf } from "./order-statistics.js";

const BITS = 11;
const BUCKETS = 1 << BITS;

/** Indices of `values` by growing magnitude; equal ones in their order. Radix sort over 3 digits, each index carrying its bits. */
export function ascendingMagnitudes(values: Float32Array): Uint32Array {
  const n = values.length;
  const bits = bitsOf(values).map((b) => b & 0x7fffffff);
  let [from, to] = [Uint32Array.from(values, (_, i) => i), new Uint32Array(n)];
  for (const shift of [0, BITS, 2 * BITS]) {
    const starts = new Uint32Array(BUCKETS + 1);
    for (let i = 0; i < n; i++) starts[((bits[i]! >>> shift) & (BUCKETS - 1)) + 1]!++;
    for (let b = 0; b < BUCKETS; b++) starts[b + 1] = starts[b]! + starts[b + 1]!;
    for (let i = 0; i < n; i++) {
      const index = from[i]!;
      to[starts[(bits[index]! >>> shift) & (BUCKETS - 1)]!++] = index;
    }
    [from, to] = [to, from];
  }
  return from;
}

/**
 * DELLA's chance of each entry to stay: linear in its rank by magnitude within its row, from density − ε (the smallest) to density + ε.
 * A row of one entry has no ranks: it stays with the density itself (mergekit divides 0 by 0 there).
 * @param values f32 [rows · length · inner]: rows run over the middle axis
 */
export function rankProbabilities(values: Float32Array, length: number, inner: number, density: number, epsilon: number): Float32Array {
  const out = new Float32Array(values.length);
  if (length === 1) return out.fill(density);
  const row = new Float32Array(length);
  const block = length * inner;
  for (let start = 0; start < values.length; start += block)
    for (let k = start; k < start + inner; k++) {
      for (let j = 0; j < length; j++) row[j] = values[k + j * inner]!;
      for (const [r, j] of ascendingMagnitudes(row).entries()) out[k + j * inner] = density - epsilon + (r / (length - 1)) * 2 * epsilon;
    }
  return out;
}

/** Draws for each probability whether its entry stays (1) or goes (0): one number of the stream each. */
export function drawMask(rng: Rng, probabilities: Float32Array): Uint8Array {
  return Uint8Array.from(probabilities, (p) => (rng.uint32() < p * 2 ** 32 ? 1 : 0));
}
