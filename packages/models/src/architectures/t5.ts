/** T5 (arXiv 1910.10683) and its version 1.1 (gated GELU, a head of its own: flan-t5): encoder and decoder with relative positions. */
import {
  add,
  broadcastTo,
  dropoutAt,
  expandDims,
  type ForwardContext,
  full,
  type HookContext,
  iota,
  LfmError,
  type Model,
  type ModelInfo,
  type ModelInput,
  mul,
  type Outputs,
  type ParamTree,
  type Site,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attend } from "../attention.js";
import { relativeBias } from "../relative-positions.js";
import { embedSequence, embedTokens } from "../sequence.js";
import { param, siteAround, siteLinear, siteRmsNorm, wanted } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const t5ConfigSchema = z.looseObject({
  model_type: z.literal("t5").default("t5"),
  ...commonFields,
  vocab_size: z.number().int().positive(),
  d_model: z.number().int().positive(),
  d_kv: z.number().int().positive(),
  d_ff: z.number().int().positive(),
  num_layers: z.number().int().positive(),
  num_decoder_layers: z.number().int().positive().nullish(),
  num_heads: z.number().int().positive(),
  relative_attention_num_buckets: z.number().int().positive().default(32),
  relative_attention_max_distance: z.number().int().positive().default(128),
  dropout_rate: dropoutRate(0.1),
  layer_norm_epsilon: z.number().positive().default(1e-6),
  /** An activation, or "gated-" and one. */
  feed_forward_proj: z
    .string()
    .refine((name) => activationName.safeParse(name.replace(/^gated-/, "")).success, {
      error: ({ input }) => `${JSON.stringify(input)} is not known; there are NAME and gated-NAME of ${activationName.options.join(", ")}`,
    })
    .default("relu"),
  tie_word_embeddings: z.boolean().default(true),
  scale_decoder_outputs: z.boolean().nullish(),
  // Set of its two sides by themselves; how weights begin; of a classifier, which is another model; what is told by feed_forward_proj.
  ...neutral("is_decoder", "initializer_factor", "classifier_dropout", "dense_act_fn", "is_gated_act"),
});
export type T5Config = z.input<typeof t5ConfigSchema>;
type Config = z.output<typeof t5ConfigSchema>;

const sides = ["encoder", "decoder"] as const;
type Side = (typeof sides)[number];

export const t5: Build<T5Config> = t5FromConfig;

/** The same from a config that nothing is known of yet. */
export function t5FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("t5", t5ConfigSchema, config);
  const declared = declare(c);
  const site = declared.byPath();
  const info: ModelInfo = {
    architecture: "t5",
    task: "seq2seq-lm",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.d_model,
    layers: c.num_layers + depth(c, "decoder"),
    heads: c.num_heads,
    params: declared.params,
    sites: declared.sites,
  };
  return { info, params: weights, forward: (params, input, context) => forward(c, site, params, input, context) };
}

function depth(c: Config, side: Side): number {
  return side === "encoder" ? c.num_layers : (c.num_decoder_layers ?? c.num_layers);
}

/** The head is the embedding, and reads scaled outputs: T5's first version. transformers 5 writes the latter, older ones the former. */
function tied(c: Config): boolean {
  return c.scale_decoder_outputs ?? c.tie_word_embeddings;
}

interface Stack {
  readonly last: Tensor;
  readonly hidden: readonly Tensor[];
  readonly attentions: readonly Tensor[];
}

function forward(c: Config, site: (path: string) => Site, params: ParamTree, input: ModelInput, context: ForwardContext): Outputs {
  const { decoder } = input;
  if (!decoder)
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] t5 reads decoder tokens beside its input; there are none", {
      hint: "decoder: { tokens } holds the answer shifted right by one, the pad token in front",
    });
  if (input.cache) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] t5 computes every position anew: it reads no cache");
  const shared = site("shared");
  const source = embedSequence(shared, params, input, context);
  const encoded = runStack("encoder", c, site, params, source.context, source.embeddings, source.mask);
  const [batch, length] = [decoder.tokens.dim(0), decoder.tokens.dim(1)];
  const mask = decoder.mask ?? full([batch, length], 1);
  const positions = broadcastTo(expandDims(iota(length), 0), [batch, length]);
  const own: HookContext = { ...context, mask, positions, prefix: 0 };
  const target = embedTokens(shared, params, decoder.tokens, own);
  const decoded = runStack("decoder", c, site, params, own, target, mask, { states: encoded.last, mask: source.mask });
  const read = tied(c) ? mul(decoded.last, c.d_model ** -0.5) : decoded.last;
  return {
    logits: siteLinear(own, site("lm_head"), params, read),
    last: decoded.last,
    encoded: encoded.last,
    prefix: 0,
    ...wanted(context, decoded),
  };
}

/** The blocks of one side. `source`: what the decoder's cross attention reads, f32[batch, keys, hidden], and its mask f32[batch, keys]. */
function runStack(
  side: Side,
  c: Config,
  site: (path: string) => Site,
  params: ParamTree,
  context: HookContext,
  embeddings: Tensor,
  mask: Tensor,
  source?: { readonly states: Tensor; readonly mask: Tensor },
): Stack {
  const causal = side === "decoder";
  const dropped = (x: Tensor, path: string): Tensor => dropoutAt(x, c.dropout_rate, context, path);
  const bias = relativeBias(param(params, biasName(side)), embeddings.dim(1), {
    bidirectional: !causal,
    maxDistance: c.relative_attention_max_distance,
  });
  const act = mlpActivation(c);
  let x = dropped(embeddings, `${side}.embed_tokens`);
  const hidden = [x];
  const attentions: Tensor[] = [];
  for (let i = 0; i < depth(c, side); i++) {
    const path = `${side}.block.${i}`;
    const at = (name: string): Site => site(`${path}${name}`);
    const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
    /** x + sublayer(norm(x)) */
    const residual = (layer: string, name: string, h: Tensor, body: (h: Tensor) => Tensor): Tensor => {
      const normed = siteRmsNorm(context, at(`${layer}.layer_norm`), params, h, c.layer_norm_epsilon);
      return add(h, dropped(siteAround(context, at(`${layer}${name}`), normed, body), `${path}${layer}`));
    };
    const attention = (at1: string, keys: (h: Tensor) => Tensor, options: Parameters<typeof attend>[5]) => (h: Tensor) => {
      const read = keys(h);
      const attended = attend(
        context,
        { kv: at(`${at1}.kv`), scores: at(`${at1}.scores`) },
        linear(`${at1}.q`, h),
        linear(`${at1}.k`, read),
        linear(`${at1}.v`, read),
        options,
      );
      if (!at1.includes("EncDec")) attentions.push(attended.weights);
      return linear(`${at1}.o`, attended.mixed);
    };
    const common = { heads: c.num_heads, scale: 1, dropout: c.dropout_rate };
    const own = attention(".layer.0.SelfAttention", (h) => h, { ...common, mask, causal, bias });
    const mlp = `.layer.${source ? 2 : 1}`;
    const dense = (name: string, h: Tensor): Tensor => linear(`${mlp}.DenseReluDense.${name}`, h);
    const activated = (h: Tensor): Tensor => (isGated(c) ? mul(act(dense("wi_0", h)), dense("wi_1", h)) : act(dense("wi", h)));
    x = siteAround(context, at(""), x, (h0) => {
      let h = residual(".layer.0", ".SelfAttention", h0, own);
      if (source) {
        const across = attention(".layer.1.EncDecAttention", () => source.states, { ...common, mask: source.mask, causal: false });
        h = residual(".layer.1", ".EncDecAttention", h, across);
      }
      return residual(mlp, ".DenseReluDense", h, (v) => dense("wo", dropped(activated(v), at(`${mlp}.DenseReluDense`).path)));
    });
    hidden.push(x);
  }
  const norm = siteRmsNorm(context, site(`${side}.final_layer_norm`), params, x, c.layer_norm_epsilon);
  return { last: dropped(norm, `${side}.final_layer_norm`), hidden, attentions };
}

function isGated(c: Config): boolean {
  return c.feed_forward_proj.startsWith("gated-");
}

/** Of the MLPs. "gated-gelu" has always meant GELU by its tanh form. */
function mlpActivation(c: Config): (x: Tensor) => Tensor {
  return activation(c.feed_forward_proj === "gated-gelu" ? "gelu_new" : activationName.parse(c.feed_forward_proj.replace(/^gated-/, "")));
}

function biasName(side: Side): string {
  return `${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`;
}

function declare(c: Config): Declarations {
  const d = new Declarations();
  const [n, inner] = [c.d_model, c.num_heads * c.d_kv];
  const dims = { heads: c.num_heads, kvHeads: c.num_heads, headDim: c.d_kv };
  d.embedding("shared", c.vocab_size, n);
  for (const side of sides) {
    d.param(biasName(side), [c.relative_attention_num_buckets, c.num_heads]);
    for (let i = 0; i < depth(c, side); i++) {
      const layer = side === "encoder" ? i : c.num_layers + i;
      const block = `${side}.block.${i}`;
      const attention = (part: number, name: string): void => {
        const p = `${block}.layer.${part}.${name}`;
        d.norm(`${block}.layer.${part}.layer_norm`, n, { bias: false, layer });
        d.site(p, "attention", layer, dims);
        for (const role of ["q", "k", "v"] as const) d.linear(`${p}.${role}`, { role, layer, in: n, out: inner, bias: false });
        d.site(`${p}.kv`, "kv", layer, dims);
        d.site(`${p}.scores`, "scores", layer, dims);
        d.linear(`${p}.o`, { role: "o", layer, in: inner, out: n, bias: false });
      };
      d.site(block, "block", layer);
      attention(0, "SelfAttention");
      if (side === "decoder") attention(1, "EncDecAttention");
      const part = `${block}.layer.${side === "decoder" ? 2 : 1}`;
      const mlp = `${part}.DenseReluDense`;
      d.norm(`${part}.layer_norm`, n, { bias: false, layer });
      d.site(mlp, "mlp", layer);
      const linear = (name: string, role: "gate" | "in" | "out"): void => {
        const [from, to] = role === "out" ? [c.d_ff, n] : [n, c.d_ff];
        d.linear(`${mlp}.${name}`, { role, layer, in: from, out: to, bias: false });
      };
      if (isGated(c)) {
        linear("wi_0", "gate");
        linear("wi_1", "in");
      } else linear("wi", "in");
      linear("wo", "out");
    }
    d.norm(`${side}.final_layer_norm`, n, { bias: false });
  }
  d.head("lm_head", n, c.vocab_size, tied(c) ? "shared.weight" : undefined);
  return d;
}
