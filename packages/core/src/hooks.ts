import type { Dim } from "./dims.js";
import { dropout, randomUniform } from "./ops/random.js";
import { Rng } from "./rng.js";
import type { Site } from "./site.js";
import type { Tensor } from "./tensor.js";

/** How a forward pass is to be run: what the caller of a model says. */
export interface ForwardContext {
  readonly mode: "train" | "eval";
  /** Run in this order at every site they match. */
  readonly hooks?: readonly Hook[];
  /** i32[] random key of this step. Models and hooks drop out in train mode with a key, and never without one. */
  readonly key?: Tensor;
  /** False: models do not drop out themselves, hooks do. Default true. */
  readonly modelDropout?: boolean;
  /** Tensors of the batch by name, for hooks: e.g. which adapter an example takes, i32[batch]. Models do not read them. */
  readonly batch?: Readonly<Record<string, Tensor>>;
  /** Blocks keep their inputs alone for the backward pass and are computed again there: a fraction of the memory for one more forward pass. */
  readonly recompute?: boolean;
  /** Ask for more than the logits or pooled vector. */
  readonly want?: { readonly hidden?: boolean; readonly attentions?: boolean; readonly cache?: boolean };
}

/** What a hook sees of the forward pass that it stands in. */
export interface HookContext extends ForwardContext {
  /**
   * f32[batch, past + prefix + seq], 1 where a position may be seen; models that read tokens. What sequence hooks put in front is part of it,
   * also for the hooks of every later site; keys that kv hooks put in front are not.
   */
  readonly mask?: Tensor;
  /** i32[batch, prefix + seq]; models that read tokens. */
  readonly positions?: Tensor;
  /** Positions that sequence hooks have put in front of the tokens; models that read tokens. */
  readonly prefix?: Dim;
  /** Positions that tokens are counted behind though nothing stands there, see {@link Sequence.skipped}; models that read tokens. */
  readonly skipped?: Dim;
  /** Sequence hooks of models that read tokens: i32[batch, n] of tokens as the model embeds its own, f32[batch, n, hidden]. */
  readonly embed?: (tokens: Tensor) => Tensor;
  /** i32[batch, prefix + seq]: the example that a token belongs to, where rows hold several; −1 for what sequence hooks have put in front. */
  readonly packed?: Tensor;
  /** Output hooks of linear sites, convolutions and embeddings: the weight that made the output, after weight hooks, in the layout of the checkpoint. */
  readonly weight?: Tensor;
  /** Output hooks of linear sites and convolutions: the bias in the output, where there is one. */
  readonly bias?: Tensor;
  /** Output hooks of residual sites of blocks that normalise the sum: that normalisation. */
  readonly norm?: (sum: Tensor) => Tensor;
  /** Which hook at which site this is: tells its random draws from those of all others (see {@link dropoutAt}). */
  readonly unit?: string;
}

/** Embedded tokens on their way into the first block; prompts lengthen all of it through one mechanism. */
export interface Sequence {
  /** f32[batch, seq, hidden] before position embeddings are added. */
  readonly embeddings: Tensor;
  /** f32[batch, past + seq] */
  readonly mask: Tensor;
  /** i32[batch, seq] */
  readonly positions: Tensor;
  /** Positions put in front so far: labels and logits shift by it. */
  readonly prefix: Dim;
  /**
   * Positions that tokens are counted behind though nothing stands there: those of keys that kv hooks put in front (prefix tuning). A hook that
   * leaves it out leaves it as it was.
   */
  readonly skipped?: Dim;
}

/** Keys and values of one layer as kv hooks see them. */
export interface HookedKv {
  /** f32[batch, kvHeads, past + seq, headDim] */
  readonly key: Tensor;
  /** f32[batch, kvHeads, past + seq, headDim] */
  readonly value: Tensor;
  /** f32[batch, past + seq] */
  readonly mask: Tensor | undefined;
}

/**
 * What a method puts into a forward pass. All parts are pure functions on traced tensors.
 * At a linear site the order is input → weight → product → output; each hook sees the result of the one before.
 */
export interface Hook {
  matches(site: Site): boolean;
  /** x — what flows into the site. */
  input?(x: Tensor, site: Site, context: HookContext): Tensor;
  /** w — the weight in the layout of the checkpoint (see {@link Site.weight}). */
  weight?(w: Tensor, site: Site, context: HookContext): Tensor;
  /** b — the bias that is added to the product, where the site has one: f32[out] */
  bias?(b: Tensor, site: Site, context: HookContext): Tensor;
  /** y — what the site produced; x — what it was given after input hooks. Residual sites: y is added to x. */
  output?(y: Tensor, x: Tensor, site: Site, context: HookContext): Tensor;
  /** Embedding sites, and the projection of an image's patches (placed by then): may lengthen the sequence. */
  sequence?(sequence: Sequence, site: Site, context: HookContext): Sequence;
  /** Attention "kv" sites (dimensions in {@link Site.attention}): may put keys, values and their mask in front (prefix tuning). */
  kv?(kv: HookedKv, site: Site, context: HookContext): HookedKv;
}

/** The hooks that have this part at this site, each with the context that it sees. */
function* hooksAt<P extends "input" | "weight" | "bias" | "output" | "sequence" | "kv">(
  part: P,
  site: Site,
  context: HookContext,
): Generator<readonly [Hook & Required<Pick<Hook, P>>, HookContext]> {
  const above = context.unit === undefined ? "" : `${context.unit}/`;
  for (const [place, h] of (context.hooks ?? []).entries())
    if (has(h, part) && h.matches(site)) yield [h, { ...context, unit: `${above}${place}:${site.path}` }];
}

function has<P extends keyof Hook>(hook: Hook, part: P): hook is Hook & Required<Pick<Hook, P>> {
  return hook[part] !== undefined;
}

/** Runs the input hooks of a site in order. */
export function hookInput(x: Tensor, site: Site, context: HookContext): Tensor {
  for (const [h, own] of hooksAt("input", site, context)) x = h.input(x, site, own);
  return x;
}

/** Runs the weight hooks of a site in order. */
export function hookWeight(w: Tensor, site: Site, context: HookContext): Tensor {
  for (const [h, own] of hooksAt("weight", site, context)) w = h.weight(w, site, own);
  return w;
}

/** Runs the bias hooks of a site in order. */
export function hookBias(b: Tensor, site: Site, context: HookContext): Tensor {
  for (const [h, own] of hooksAt("bias", site, context)) b = h.bias(b, site, own);
  return b;
}

/**
 * Runs the output hooks of a site in order. `made` — the weight and bias after their hooks that made y, where the site has them; at residual
 * sites what becomes of the sum.
 */
export function hookOutput(
  y: Tensor,
  x: Tensor,
  site: Site,
  context: HookContext,
  made: Pick<HookContext, "weight" | "bias" | "norm"> = {},
): Tensor {
  for (const [h, own] of hooksAt("output", site, { ...context, ...made })) y = h.output(y, x, site, own);
  return y;
}

/** Runs the sequence hooks of an embedding site in order; each sees mask, positions and prefix as those before it left them. */
export function hookSequence(sequence: Sequence, site: Site, context: HookContext): Sequence {
  for (const [h, own] of hooksAt("sequence", site, context)) {
    const { mask, positions, prefix, skipped = 0 } = sequence;
    sequence = { skipped, ...h.sequence(sequence, site, { ...own, mask, positions, prefix, skipped }) };
  }
  return sequence;
}

/** Runs the key/value hooks of a site in order. */
export function hookKv(kv: HookedKv, site: Site, context: HookContext): HookedKv {
  for (const [h, own] of hooksAt("kv", site, context)) kv = h.kv(kv, site, own);
  return kv;
}

/** Whether any hook looks at the keys and values of this site. */
export function hooksKv(site: Site, context: HookContext): boolean {
  return !hooksAt("kv", site, context).next().done;
}

/**
 * Dropout in train mode with a key, otherwise x itself (no node is traced). What is dropped depends on the step's key, the hook's place in the
 * stack, the site and `label`: stacked deltas of one kind, and two draws of one hook, are independent.
 * @param rate share of the elements that become 0, in [0, 1); the others are scaled by 1/(1 − rate)
 * @param label tells several draws of one hook at one site apart; a model gives the path of the place
 */
export function dropoutAt(x: Tensor, rate: number, context: HookContext, label = ""): Tensor {
  const key = rate === 0 ? undefined : drawingKey(context);
  return key ? dropout(x, rate, key, streamOf(context, label)) : x;
}

/** f32[shape] uniform in [0, 1) where {@link dropoutAt} would drop out, drawn as independently; nothing elsewhere. For methods that drop in ways of their own. */
export function uniformAt(shape: readonly Dim[], context: HookContext, label: string): Tensor | undefined {
  const key = drawingKey(context);
  return key && randomUniform(key, shape, streamOf(context, label));
}

function drawingKey({ mode, key, modelDropout, unit }: HookContext): Tensor | undefined {
  // Only hooks have a unit.
  return mode !== "train" || (modelDropout === false && unit === undefined) ? undefined : key;
}

function streamOf({ unit = "" }: HookContext, label: string): number {
  return new Rng(0).split(`${unit}|${label}`).seed;
}
