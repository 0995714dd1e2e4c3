/**
 * Items of similar length together, the longest first: what is padded is little. At most `batchSize` items and about `batchTokens` padded
 * tokens in one.
 * @returns places of the items in the order given, batch by batch
 */
export function batchesByLength(lengths: readonly number[], batchSize: number, batchTokens = Number.POSITIVE_INFINITY): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  for (let at = 0; at < order.length; ) {
    const count = Math.max(1, Math.min(batchSize, Math.floor(batchTokens / Math.max(1, lengths[order[at]!]!))));
    batches.push(order.slice(at, at + count));
    at += count;
  }
  return batches;
}
