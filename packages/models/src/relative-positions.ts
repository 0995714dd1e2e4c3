import {
  abs,
  add,
  cast,
  constant,
  cumSum,
  type Dim,
  expandDims,
  gather,
  greater,
  i32,
  iota,
  minimum,
  mul,
  neg,
  slice,
  sub,
  type Tensor,
  transpose,
} from "@lfm/core";

export interface RelativeBiasOptions {
  /** Half of the buckets are for keys behind the query; otherwise there are none for those. */
  readonly bidirectional: boolean;
  /** From here on all distances share the last bucket. */
  readonly maxDistance: number;
}

/**
 * T5's bias of scores by the distance of query and key: every distance to half of the buckets, logarithmic ones beyond (arXiv 1910.10683, 2.1).
 * @param table f32[buckets, heads]
 * @returns f32[1, heads, seq, seq]
 */
export function relativeBias(table: Tensor, seq: Dim, options: RelativeBiasOptions): Tensor {
  return biasOf(table, expandDims(sub(expandDims(iota(seq), 0), expandDims(iota(seq), 1)), 0), options);
}

/**
 * The same of queries behind a cache: keys that the mask hides, in the cache's empty room or beside shorter rows, lie between none.
 * @param mask f32[batch, past + seq]
 * @returns f32[batch, heads, seq, past + seq]
 */
export function relativeBiasBehind(table: Tensor, mask: Tensor, past: Dim, seq: Dim, options: RelativeBiasOptions): Tensor {
  const counted = cast(cumSum(mask, 1), "i32");
  return biasOf(table, sub(expandDims(counted, 1), expandDims(slice(counted, 1, past, seq), 2)), options);
}

/** @param offset key − query, i32[batch, seq, keys] */
function biasOf(table: Tensor, offset: Tensor, options: RelativeBiasOptions): Tensor {
  const all = table.dim(0) as number;
  const buckets = options.bidirectional ? all / 2 : all;
  const byDistance = constant(i32(distanceBuckets(buckets, options.maxDistance)));
  const distance = options.bidirectional ? abs(offset) : neg(minimum(offset, 0));
  const bucket = gather(byDistance, minimum(distance, options.maxDistance));
  const chosen = options.bidirectional ? add(bucket, mul(cast(greater(offset, 0), "i32"), buckets)) : bucket;
  return transpose(gather(table, chosen), [0, 3, 1, 2]);
}

/** The bucket of every distance 0 … maxDistance, in the f32 arithmetic of transformers, whose roundings decide at the borders. */
export function distanceBuckets(buckets: number, maxDistance: number): number[] {
  const exact = Math.floor(buckets / 2);
  const span = Math.fround(Math.log(maxDistance / exact));
  return Array.from({ length: maxDistance + 1 }, (_, n) => {
    if (n < exact) return n;
    const share = Math.fround(Math.fround(Math.log(Math.fround(n / exact))) / span);
    return Math.min(buckets - 1, exact + Math.trunc(Math.fround(share * (buckets - exact))));
  });
}
