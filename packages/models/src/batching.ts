import { f32, type HostTensor, i32 } from "@lfm/core";

/** Items of similar length together, longest first: what is padded is little. */
export interface LengthBatch {
  /** Places of the items in the order given. */
  readonly items: readonly number[];
  /** Length of the longest. */
  readonly length: number;
}

/** Batches of at most `batchSize` items and about `batchTokens` padded tokens, sorted by length. */
export function batchesByLength(lengths: readonly number[], batchSize: number, batchTokens = Number.POSITIVE_INFINITY): LengthBatch[] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: LengthBatch[] = [];
  for (let at = 0; at < order.length; ) {
    const length = lengths[order[at]!]!;
    const count = Math.max(1, Math.min(batchSize, Math.floor(batchTokens / Math.max(1, length))));
    batches.push({ items: order.slice(at, at + count), length });
    at += count;
  }
  return batches;
}

/** Rows padded on the right with 0: tokens i32[n, length] and mask f32[n, length]. */
export function padRight(rows: readonly (readonly number[])[], length: number): { readonly tokens: HostTensor; readonly mask: HostTensor } {
  const tokens = new Int32Array(rows.length * length);
  const mask = new Float32Array(rows.length * length);
  rows.forEach((row, b) => {
    tokens.set(row, b * length);
    mask.fill(1, b * length, b * length + row.length);
  });
  return { tokens: i32(tokens, [rows.length, length]), mask: f32(mask, [rows.length, length]) };
}
