/** Scaled dot-product attention, composed of primitives so that hooks and any derivative pass through. */
import type { Dim } from "../dims.js";
import type { Tensor } from "../tensor.js";
import { add, mul } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { expandDims, reshape, transpose } from "./movement.js";
import { softmax } from "./norm.js";

/** f32[batch, seq, heads·headDim] → f32[batch, heads, seq, headDim]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, seq] = [x.dim(0), x.dim(1)];
  return transpose(reshape(x, [batch, seq, heads, (x.dim(2) as number) / heads]), [0, 2, 1, 3]);
}

/** f32[batch, heads, seq, headDim] → f32[batch, seq, heads·headDim]. */
export function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, seq, dim] = x.shape as readonly [Dim, number, Dim, number];
  return reshape(transpose(x, [0, 2, 1, 3]), [batch, seq, heads * dim]);
}

export interface AttentionOptions {
  /** Multiplies the scores; default 1/√headDim. */
  readonly scale?: number;
  /** Added to the scores, broadcast to f32[batch, heads, seq, keys]; −1e9 hides. */
  readonly bias?: Tensor | undefined;
}

/**
 * softmax(q·kᵀ·scale + bias)·v.
 * @param q f32[batch, heads, seq, headDim]; k, v f32[batch, kvHeads, keys, headDim]; heads is a multiple of kvHeads
 * @returns the mixed values f32[batch, heads, seq, headDim] and the weights f32[batch, heads, seq, keys]
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): { readonly mixed: Tensor; readonly weights: Tensor } {
  const [batch, heads, seq, headDim] = q.shape as readonly [Dim, number, Dim, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const scaled = mul(q, options.scale ?? 1 / Math.sqrt(headDim));
  if (group === 1) {
    const scores = matmul(scaled, k, { transB: true });
    const weights = softmax(options.bias ? add(scores, options.bias) : scores);
    return { mixed: matmul(weights, v), weights };
  }
  // Grouped queries: the group is a broadcast batch axis, keys and values are never repeated in memory.
  const grouped = reshape(scaled, [batch, kvHeads, group, seq, headDim]);
  const scores = matmul(grouped, expandDims(k, 2), { transB: true });
  const flat = reshape(scores, [batch, heads, seq, k.dim(2)]);
  const weights = softmax(options.bias ? add(flat, options.bias) : flat);
  const mixed = matmul(reshape(weights, [batch, kvHeads, group, seq, k.dim(2)]), expandDims(v, 2));
  return { mixed: reshape(mixed, [batch, heads, seq, headDim]), weights };
}
