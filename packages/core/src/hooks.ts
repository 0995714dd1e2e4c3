import type { Dim } from "./dims.js";
import type { ForwardContext } from "./model.js";
import type { Tensor } from "./tensor.js";

export type SiteKind =
  | "embedding"
  | "block"
  | "attention"
  | "linear"
  | "conv"
  | "scores"
  | "mlp"
  | "norm"
  | "residual"
  | "pooler"
  | "head"
  | "kv";

/** A named place of the forward pass. Paths are module paths of the Hugging Face model, e.g. `transformer.h.0.attn.c_attn`. */
export interface Site {
  readonly path: string;
  readonly kind: SiteKind;
  /** What a linear site computes: query, key, value, attention output, fused qkv, MLP gate, MLP in, MLP out, classifier. */
  readonly role?: "q" | "k" | "v" | "o" | "qkv" | "gate" | "in" | "out" | "classifier";
  /** Block index, where the site belongs to one. */
  readonly layer?: number;
  /** Linear sites: the weight and how it lies in the checkpoint ("out-in" as torch's Linear, "in-out" as GPT-2's Conv1D). */
  readonly weight?: {
    readonly name: string;
    readonly bias?: string;
    readonly layout: "out-in" | "in-out";
    readonly in: number;
    readonly out: number;
  };
}

/** Embedded tokens on their way into the first block; prompts lengthen all of it through one mechanism. */
export interface Sequence {
  /** f32[batch, seq, hidden] before position embeddings are added. */
  readonly embeddings: Tensor;
  /** f32[batch, seq] */
  readonly mask: Tensor;
  /** i32[batch, seq] */
  readonly positions: Tensor;
  /** Positions put in front so far: labels and logits shift by it. */
  readonly prefix: Dim;
}

/**
 * What a method puts into a forward pass. All parts are pure functions on traced tensors.
 * At a linear site the order is input → weight → product → output; each hook sees the result of the one before.
 */
export interface Hook {
  matches(site: Site): boolean;
  /** x — what flows into the site. */
  input?(x: Tensor, site: Site, context: ForwardContext): Tensor;
  /** w — the weight in the layout of the checkpoint (see {@link Site.weight}). */
  weight?(w: Tensor, site: Site, context: ForwardContext): Tensor;
  /** y — what the site produced; x — what it was given after input hooks. */
  output?(y: Tensor, x: Tensor, site: Site, context: ForwardContext): Tensor;
  /** Embedding sites: may lengthen the sequence. */
  sequence?(sequence: Sequence, site: Site, context: ForwardContext): Sequence;
  /** Attention "kv" sites: may put keys and values in front (prefix tuning), f32[batch, kvHeads, seq, headDim]; mask f32[batch, seq]. */
  kv?(
    kv: { readonly key: Tensor; readonly value: Tensor; readonly mask: Tensor | undefined },
    site: Site,
    context: ForwardContext,
  ): { readonly key: Tensor; readonly value: Tensor; readonly mask: Tensor | undefined };
}

/** Runs the input hooks of a site in order. */
export function hookInput(x: Tensor, site: Site, context: ForwardContext): Tensor {
  for (const h of context.hooks ?? []) if (h.input && h.matches(site)) x = h.input(x, site, context);
  return x;
}

/** Runs the weight hooks of a site in order. */
export function hookWeight(w: Tensor, site: Site, context: ForwardContext): Tensor {
  for (const h of context.hooks ?? []) if (h.weight && h.matches(site)) w = h.weight(w, site, context);
  return w;
}

/** Runs the output hooks of a site in order. */
export function hookOutput(y: Tensor, x: Tensor, site: Site, context: ForwardContext): Tensor {
  for (const h of context.hooks ?? []) if (h.output && h.matches(site)) y = h.output(y, x, site, context);
  return y;
}

/** Runs the sequence hooks of an embedding site in order. */
export function hookSequence(sequence: Sequence, site: Site, context: ForwardContext): Sequence {
  for (const h of context.hooks ?? []) if (h.sequence && h.matches(site)) sequence = h.sequence(sequence, site, context);
  return sequence;
}

/** Runs the key/value hooks of a site in order. */
export function hookKv(
  kv: { readonly key: Tensor; readonly value: Tensor; readonly mask: Tensor | undefined },
  site: Site,
  context: ForwardContext,
): { readonly key: Tensor; readonly value: Tensor; readonly mask: Tensor | undefined } {
  for (const h of context.hooks ?? []) if (h.kv && h.matches(site)) kv = h.kv(kv, site, context);
  return kv;
}
