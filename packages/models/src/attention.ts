import {
  add,
  broadcastTo,
  causalAttention,
  concat,
  type Dim,
  dimAdd,
  dimEqual,
  dimMul,
  dimSub,
  dropoutAt,
  type HookContext,
  hookKv,
  hookOutput,
  hooksKv,
  type KvPair,
  LfmError,
  matmul,
  mergeHeads,
  mul,
  pad,
  reshape,
  type Site,
  softmax,
  split,
  splitHeads,
  type Tensor,
  tanh,
  uniformValue,
} from "@lfm/core";
import { apartBias, attentionBias } from "./sequence.js";

export interface AttendOptions {
  readonly heads: number;
  /** Heads of keys and values; `heads` is a multiple. Default `heads`. */
  readonly kvHeads?: number;
  /** f32[batch, past + seq]: 1 for keys that may be seen. */
  readonly mask: Tensor;
  readonly causal: boolean;
  /** Of the scores. Default 1/√headDim. */
  readonly scale?: number | undefined;
  /** Scores become cap·tanh(score/cap), before bias and mask. Default none. */
  readonly cap?: number | undefined;
  /** Causal attention: keys that a query sees at most, itself the last of them; what kv hooks put in front counts. Default all. */
  readonly window?: number | undefined;
  /** Added to the scores, broadcast to f32[batch, heads, seq, past + keys]. Keys that hooks put in front have none. */
  readonly bias?: Tensor;
  /** Keys and values of earlier positions, f32[batch, kvHeads, past, headDim]. */
  readonly past?: KvPair | undefined;
  /** Dropout of the weights in train mode, in [0, 1); default 0. */
  readonly dropout?: number;
}

export interface Attended {
  /** f32[batch, seq, heads·headDim] */
  readonly mixed: Tensor;
  /** f32[batch, heads, seq, keys], after the hooks of the scores' site and dropout. */
  readonly weights: Tensor;
  /** Keys and values, past included, prefixes of kv hooks not. */
  readonly cache: KvPair;
}

/**
 * softmax(cap(q·kᵀ·scale) + bias + mask)·v with the hooks of the sites "kv" and "scores"; examples that are packed into one row do not see each other.
 * Causal attention without a past, whose keys and values no hook changes, is one operation of the engine. The past is never joined with the
 * new keys unless a kv hook wants to see them together: a step of generation reads the cache in place.
 * @param q f32[batch, seq, heads·headDim]; k, v f32[batch, keys, kvHeads·headDim]; for cross attention the keys are of another sequence
 */
export function attend(
  context: HookContext,
  sites: { readonly kv: Site; readonly scores: Site },
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttendOptions,
): Attended {
  const { mask, past, heads, kvHeads = heads, cap } = options;
  const apart = context.packed && apartBias(context.packed);
  const bias = together(options.bias, apart);
  const [ks, vs] = [splitHeads(k, kvHeads), splitHeads(v, kvHeads)];
  const seq = q.dim(1);
  const pastLength: Dim = past ? past.key.dim(2) : 0;
  const cache: KvPair = past ? { key: concat([past.key, ks], 2), value: concat([past.value, vs], 2) } : { key: ks, value: vs };
  const queries = queriesOf(context, sites.scores, q, options);
  if (past && !hooksKv(sites.kv, context)) {
    const scores = capped(concat([keyProduct(queries.scaled, past.key), keyProduct(queries.scaled, ks)], 3), cap);
    const weights = queries.seen(softmax(add(scores, biased(bias, attentionBias(mask, seq, pastLength, options), 0))));
    const [before, now] = split(weights, 3, [pastLength, seq]);
    return { mixed: mergeHeads(add(valueProduct(before!, past.value), valueProduct(now!, vs))), weights, cache };
  }
  const kv = hookKv({ ...cache, mask }, sites.kv, context);
  const seen = kv.mask ?? mask;
  const untouched = kv.key === cache.key && kv.value === cache.value && seen === mask;
  if (apart && options.window !== undefined && !(untouched && dimEqual(context.prefix ?? 0, 0)))
    throw new LfmError(
      "CAPABILITY_MISSING",
      "[@lfm/models] a window of attention counts places: packed examples cannot share what stands in front",
      {
        hint: "do not pack, or learn something that puts nothing in front",
      },
    );
  if (options.causal && !past && !options.bias && cap === undefined && untouched) {
    const hidden = together(hiddenKeys(mask, seq, options.window), apart);
    const fused = causalAttention(q, k, v, { heads, kvHeads, bias: hidden, scale: queries.scale });
    const weights = queries.seen(fused.weights);
    const product = weights === fused.weights ? fused.mixed : mergeHeads(valueProduct(weights, fused.values));
    return { mixed: product, weights, cache: { key: fused.keys, value: fused.values } };
  }
  return { ...mixed(queries, { ...kv, mask: seen }, pastLength, { ...options, ...(bias ? { bias } : {}) }), cache };
}

/**
 * Attention over keys and values that were computed before, all of which every query may see: a decoder's over its source.
 * @param q f32[batch, seq, heads·headDim]
 * @param cache f32[batch, kvHeads, keys, headDim] each; hooks of the site "kv" see them
 */
export function attendOver(
  context: HookContext,
  sites: { readonly kv: Site; readonly scores: Site },
  q: Tensor,
  cache: KvPair,
  options: Omit<AttendOptions, "causal" | "past" | "window">,
): Attended {
  const { mask } = options;
  const kv = hookKv({ ...cache, mask }, sites.kv, context);
  const queries = queriesOf(context, sites.scores, q, options);
  return { ...mixed(queries, { ...kv, mask: kv.mask ?? mask }, 0, { ...options, causal: false }), cache };
}

interface Queries {
  readonly scale: number;
  /** f32[batch, heads, seq, headDim], times the scale. */
  readonly scaled: Tensor;
  /** Weights after the hooks of the scores' site and dropout. */
  readonly seen: (weights: Tensor) => Tensor;
}

function queriesOf(
  context: HookContext,
  site: Site,
  q: Tensor,
  { heads, dropout = 0, scale }: Pick<AttendOptions, "heads" | "dropout" | "scale">,
): Queries {
  const qs = splitHeads(q, heads);
  const factor = scale ?? 1 / Math.sqrt(qs.dim(3) as number);
  const seen = (weights: Tensor): Tensor => dropoutAt(hookOutput(weights, qs, site, context), dropout, context, site.path);
  return { scale: factor, scaled: mul(qs, factor), seen };
}

/** @param kv all keys, those in front included, with their mask; past — keys behind which the queries' own begin, those in front not counted */
function mixed(
  { scaled, seen }: Queries,
  kv: { readonly key: Tensor; readonly value: Tensor; readonly mask: Tensor },
  past: Dim,
  { mask, bias, cap, ...options }: AttendOptions,
): Pick<Attended, "mixed" | "weights"> {
  const inFront = dimSub(kv.mask.dim(1), mask.dim(1));
  const hidden = biased(bias, attentionBias(kv.mask, scaled.dim(2), dimAdd(past, inFront), options), inFront);
  const weights = seen(softmax(add(capped(keyProduct(scaled, kv.key), cap), hidden)));
  return { mixed: mergeHeads(valueProduct(weights, kv.value)), weights };
}

/** Keys in front have no bias of their own. */
function biased(bias: Tensor | undefined, hidden: Tensor, inFront: Dim): Tensor {
  return bias ? add(pad(bias, 3, inFront, 0), hidden) : hidden;
}

/** The sum of biases that are there. */
function together(a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined {
  return a && b ? add(a, b) : (a ?? b);
}

/** 0 for keys that may be seen and −1e9 for others, f32[batch, 1, seq, keys]; undefined where all that are not later may. */
function hiddenKeys(mask: Tensor, seq: Dim, window: number | undefined): Tensor | undefined {
  const windowed = window !== undefined && !(typeof seq === "number" && seq <= window);
  if (!windowed && uniformValue(mask) === 1) return undefined;
  return broadcastTo(attentionBias(mask, seq, 0, { causal: windowed, window }), [mask.dim(0), 1, seq, mask.dim(1)]);
}

function capped(scores: Tensor, cap: number | undefined): Tensor {
  return cap === undefined ? scores : mul(tanh(mul(scores, 1 / cap)), cap);
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
