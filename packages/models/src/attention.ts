import {
  add,
  concat,
  type Dim,
  dimAdd,
  dimMul,
  dimSub,
  type HookContext,
  hookKv,
  hookOutput,
  hooksKv,
  type KvPair,
  matmul,
  mul,
  reshape,
  type Site,
  softmax,
  split,
  type Tensor,
} from "@lfm/core";
import { attentionBias } from "./sequence.js";

export interface AttendOptions {
  /** f32[batch, past + seq]: 1 for keys that may be seen. */
  readonly mask: Tensor;
  readonly causal: boolean;
  /** Keys and values of earlier positions, f32[batch, kvHeads, past, headDim]. */
  readonly past?: KvPair | undefined;
}

export interface Attended {
  /** f32[batch, heads, seq, headDim] */
  readonly mixed: Tensor;
  /** f32[batch, heads, seq, keys], after the hooks of the scores' site. */
  readonly weights: Tensor;
  /** Keys and values, past included, prefixes of kv hooks not. */
  readonly cache: KvPair;
}

/**
 * softmax(q·kᵀ/√headDim + mask)·v with the hooks of the sites "kv" and "scores".
 * The past is never joined with the new keys unless a kv hook wants to see them together: a step of generation reads the cache in place.
 * @param q f32[batch, heads, seq, headDim]; k, v f32[batch, kvHeads, seq, headDim]; heads is a multiple of kvHeads
 */
export function attend(
  context: HookContext,
  sites: { readonly kv: Site; readonly scores: Site },
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { mask, causal, past }: AttendOptions,
): Attended {
  const [seq, headDim] = [q.dim(2), q.dim(3) as number];
  const pastLength: Dim = past ? past.key.dim(2) : 0;
  const cache: KvPair = past ? { key: concat([past.key, k], 2), value: concat([past.value, v], 2) } : { key: k, value: v };
  const scaled = mul(q, 1 / Math.sqrt(headDim));
  const finish = (scores: Tensor, bias: Tensor): Tensor => hookOutput(softmax(add(scores, bias)), q, sites.scores, context);
  if (past && !hooksKv(sites.kv, context)) {
    const scores = concat([keyProduct(scaled, past.key), keyProduct(scaled, k)], 3);
    const weights = finish(scores, attentionBias(mask, seq, pastLength, causal));
    const [before, now] = split(weights, 3, [pastLength, seq]);
    return { mixed: add(valueProduct(before!, past.value), valueProduct(now!, v)), weights, cache };
  }
  const kv = hookKv({ ...cache, mask }, sites.kv, context);
  const seen = kv.mask ?? mask;
  const offset = dimAdd(pastLength, dimSub(seen.dim(1), mask.dim(1)));
  const weights = finish(keyProduct(scaled, kv.key), attentionBias(seen, seq, offset, causal));
  return { mixed: valueProduct(weights, kv.value), weights, cache };
}

/** q·kᵀ f32[batch, heads, seq, keys]. Queries that share a key head are rows of one product: keys are never repeated in memory. */
function keyProduct(q: Tensor, k: Tensor): Tensor {
  const [batch, heads, seq, headDim] = q.shape as readonly [Dim, number, Dim, number];
  return reshape(matmul(reshape(q, grouped(batch, heads, seq, k, headDim)), k, { transB: true }), [batch, heads, seq, k.dim(2)]);
}

/** weights·v f32[batch, heads, seq, headDim]. */
function valueProduct(weights: Tensor, v: Tensor): Tensor {
  const [batch, heads, seq, keys] = weights.shape as readonly [Dim, number, Dim, Dim];
  return reshape(matmul(reshape(weights, grouped(batch, heads, seq, v, keys)), v), [batch, heads, seq, v.dim(3)]);
}

function grouped(batch: Dim, heads: number, seq: Dim, shared: Tensor, last: Dim): Dim[] {
  const kvHeads = shared.dim(1) as number;
  const group = heads / kvHeads;
  return [batch, kvHeads, dimMul(seq, group), last];
}
