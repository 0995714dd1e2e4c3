import type { Rng } from "@lfm/core";
import { bitsOf } from "./order-statistics.js";

const BITS = 11;
const BUCKETS = 1 << BITS;
/** Up to this length rows are sorted by insertion: clearing the counters of a radix sort would cost more. */
const SHORT = 48;

/** Sorts magnitudes of rows of one length, in memory that is kept from row to row. */
export class MagnitudeSorter {
  private readonly bits: Uint32Array;
  private readonly from: Uint32Array;
  private readonly to: Uint32Array;
  private readonly starts = new Uint32Array(BUCKETS);

  constructor(readonly length: number) {
    this.bits = new Uint32Array(length);
    this.from = new Uint32Array(length);
    this.to = new Uint32Array(length);
  }

  /**
   * Indices within the row by growing magnitude; equal ones in their order. Valid until the next call.
   * @param start of the row's first entry in `values`; the next ones follow every `stride`
   */
  ascending(values: Float32Array, start: number, stride: number): Uint32Array {
    const { bits, length } = this;
    const raw = bitsOf(values);
    for (let i = 0, at = start; i < length; i++, at += stride) {
      bits[i] = raw[at]! & 0x7fffffff;
      this.from[i] = i;
    }
    if (length <= SHORT) return this.insertion();
    // Three digits: an odd number of moves leaves the order in `to`.
    this.move(this.from, this.to, 0);
    this.move(this.to, this.from, BITS);
    this.move(this.from, this.to, 2 * BITS);
    return this.to;
  }

  private insertion(): Uint32Array {
    const { bits, from, length } = this;
    for (let i = 1; i < length; i++) {
      const own = from[i]!;
      let j = i;
      for (; j > 0 && bits[from[j - 1]!]! > bits[own]!; j--) from[j] = from[j - 1]!;
      from[j] = own;
    }
    return from;
  }

  private move(from: Uint32Array, to: Uint32Array, shift: number): void {
    const { bits, starts, length } = this;
    starts.fill(0);
    for (let i = 0; i < length; i++) starts[(bits[i]! >>> shift) & (BUCKETS - 1)]!++;
    let sum = 0;
    for (let b = 0; b < BUCKETS; b++) {
      const count = starts[b]!;
      starts[b] = sum;
      sum += count;
    }
    for (let i = 0; i < length; i++) {
      const index = from[i]!;
      const bucket = (bits[index]! >>> shift) & (BUCKETS - 1);
      to[starts[bucket]!] = index;
      starts[bucket]!++;
    }
  }
}

/**
 * DELLA's chance of each entry to stay: linear in its rank by magnitude within its row, from density − ε (the smallest) to density + ε.
 * A row of one entry has no ranks: it stays with the density itself (mergekit divides 0 by 0 there).
 * @param values f32 [rows · sorter.length · inner]: rows run over the middle axis
 * @param out f32, of the length of `values`
 */
export function rankProbabilities(
  values: Float32Array,
  sorter: MagnitudeSorter,
  inner: number,
  density: number,
  epsilon: number,
  out: Float32Array,
): void {
  const { length } = sorter;
  if (length === 1) {
    out.fill(density, 0, values.length);
    return;
  }
  const step = (2 * epsilon) / (length - 1);
  const block = length * inner;
  for (let start = 0; start < values.length; start += block)
    for (let k = start; k < start + inner; k++) {
      const order = sorter.ascending(values, k, inner);
      for (let r = 0; r < length; r++) out[k + order[r]! * inner] = density - epsilon + r * step;
    }
}

/** Draws for each probability whether its entry stays (1) or goes (0): one number of the stream each. */
export function drawMask(rng: Rng, probabilities: Float32Array, mask: Uint8Array): void {
  for (let i = 0; i < probabilities.length; i++) mask[i] = rng.uint32() < probabilities[i]! * 2 ** 32 ? 1 : 0;
}
