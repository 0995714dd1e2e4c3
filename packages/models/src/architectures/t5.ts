/** T5 (arXiv 1910.10683) and its version 1.1 (gated GELU, a head of its own: flan-t5): encoder and decoder with relative positions. */
import {
  add,
  broadcastTo,
  cast,
  dimAdd,
  dimScalar,
  dropoutAt,
  expandDims,
  type ForwardContext,
  full,
  type HookContext,
  iota,
  type KvPair,
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
import { attend, attendOver } from "../attention.js";
import { relativeBias, relativeBiasBehind } from "../relative-positions.js";
import { embedSequence, embedTokens } from "../sequence.js";
import { param, siteAround, siteLinear, siteResidual, siteRmsNorm, wanted } from "../sites.js";
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
  /** What answers begin with. */
  decoder_start_token_id: z.number().int().nonnegative().nullish(),
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
    ...(c.decoder_start_token_id == null ? {} : { answerStart: c.decoder_start_token_id }),
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
  /** Keys and values of each layer, past included. */
  readonly cache: readonly KvPair[];
  /** Of the decoder: keys and values of the source. */
  readonly crossed: readonly KvPair[];
}

/** What the decoder's cross attention reads: states f32[batch, keys, hidden] of the encoder, or keys and values that were made of them before. */
type Source = { readonly mask: Tensor } & ({ readonly states: Tensor } | { readonly cache: readonly KvPair[] });

/** What a stack is told beside its embeddings. */
interface Reading {
  /** f32[batch, past + seq] */
  readonly mask: Tensor;
  readonly past?: readonly KvPair[] | undefined;
  /** Of the decoder alone. */
  readonly source?: Source;
}

function forward(c: Config, site: (path: string) => Site, params: ParamTree, input: ModelInput, context: ForwardContext): Outputs {
  const { decoder, cache: past, ...source } = input;
  if (!decoder)
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] t5 reads decoder tokens beside its input; there are none", {
      hint: "decoder: { tokens } holds the answer shifted right by one, the pad token in front",
    });
  if (input.packed)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] t5's decoder reads all of a row: several examples do not share one");
  const shared = site("shared");
  const encode = (): { readonly mask: Tensor; readonly states: Tensor } => {
    const embedded = embedSequence(shared, params, source, context);
    return { mask: embedded.mask, states: runStack("encoder", c, site, params, embedded.context, embedded.embeddings, embedded).last };
  };
  const read: Source = decoder.source ?? encode();
  const [batch, length] = [decoder.tokens.dim(0), decoder.tokens.dim(1)];
  const before = past?.[0]?.key.dim(2) ?? 0;
  const mask = decoder.mask ?? full([batch, dimAdd(before, length)], 1);
  const start = typeof before === "number" ? before : cast(dimScalar(before), "i32");
  const positions = broadcastTo(expandDims(add(iota(length), start), 0), [batch, length]);
  const own: HookContext = { ...context, mask, positions, prefix: 0 };
  const target = embedTokens(shared, params, decoder.tokens, own);
  const decoded = runStack("decoder", c, site, params, own, target, { mask, past, source: read });
  return {
    logits: siteLinear(own, site("lm_head"), params, tied(c) ? mul(decoded.last, c.d_model ** -0.5) : decoded.last),
    last: decoded.last,
    ...("states" in read ? { encoded: read.states } : {}),
    prefix: 0,
    ...wanted(context, { ...decoded, source: { cache: decoded.crossed, mask: read.mask } }),
  };
}

/** The blocks of one side. */
function runStack(
  side: Side,
  c: Config,
  site: (path: string) => Site,
  params: ParamTree,
  context: HookContext,
  embeddings: Tensor,
  { mask, past, source }: Reading,
): Stack {
  const causal = side === "decoder";
  const dropped = (x: Tensor, path: string): Tensor => dropoutAt(x, c.dropout_rate, context, path);
  const [table, seq] = [param(params, biasName(side)), embeddings.dim(1)];
  const distances = { bidirectional: !causal, maxDistance: c.relative_attention_max_distance };
  const bias = past ? relativeBiasBehind(table, mask, past[0]!.key.dim(2), seq, distances) : relativeBias(table, seq, distances);
  const act = mlpActivation(c);
  let x = dropped(embeddings, `${side}.embed_tokens`);
  const hidden = [x];
  const attentions: Tensor[] = [];
  const cache: KvPair[] = [];
  const crossed: KvPair[] = [];
  for (let i = 0; i < depth(c, side); i++) {
    const path = `${side}.block.${i}`;
    const at = (name: string): Site => site(`${path}${name}`);
    const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
    /** x + sublayer(norm(x)) */
    const residual = (layer: string, name: string, h: Tensor, body: (h: Tensor) => Tensor): Tensor => {
      const normed = siteRmsNorm(context, at(`${layer}.layer_norm`), params, h, c.layer_norm_epsilon);
      const part = dropped(siteAround(context, at(`${layer}${name}`), normed, body), `${path}${layer}`);
      return siteResidual(context, at(`${layer}${name}.residual`), h, part);
    };
    const common = { heads: c.num_heads, scale: 1, dropout: c.dropout_rate };
    const sitesOf = (part: string): Parameters<typeof attend>[1] => ({ kv: at(`${part}.kv`), scores: at(`${part}.scores`) });
    const own = (h: Tensor): Tensor => {
      const part = ".layer.0.SelfAttention";
      const [q, k, v] = [linear(`${part}.q`, h), linear(`${part}.k`, h), linear(`${part}.v`, h)];
      const attended = attend(context, sitesOf(part), q, k, v, { ...common, mask, causal, bias, past: past?.[i] });
      attentions.push(attended.weights);
      cache.push(attended.cache);
      return linear(`${part}.o`, attended.mixed);
    };
    const across =
      (read: Source) =>
      (h: Tensor): Tensor => {
        const part = ".layer.1.EncDecAttention";
        const [q, options] = [linear(`${part}.q`, h), { ...common, mask: read.mask }];
        const attended =
          "cache" in read
            ? attendOver(context, sitesOf(part), q, read.cache[i]!, options)
            : attend(context, sitesOf(part), q, linear(`${part}.k`, read.states), linear(`${part}.v`, read.states), {
                ...options,
                causal: false,
              });
        crossed.push(attended.cache);
        return linear(`${part}.o`, attended.mixed);
      };
    const mlp = `.layer.${source ? 2 : 1}`;
    const dense = (name: string, h: Tensor): Tensor => linear(`${mlp}.DenseReluDense.${name}`, h);
    const activated = (h: Tensor): Tensor => (isGated(c) ? mul(act(dense("wi_0", h)), dense("wi_1", h)) : act(dense("wi", h)));
    x = siteAround(context, at(""), x, (h0) => {
      let h = residual(".layer.0", ".SelfAttention", h0, own);
      if (source) h = residual(".layer.1", ".EncDecAttention", h, across(source));
      return residual(mlp, ".DenseReluDense", h, (v) => dense("wo", dropped(activated(v), at(`${mlp}.DenseReluDense`).path)));
    });
    hidden.push(x);
  }
  const norm = siteRmsNorm(context, site(`${side}.final_layer_norm`), params, x, c.layer_norm_epsilon);
  return { last: dropped(norm, `${side}.final_layer_norm`), hidden, attentions, cache, crossed };
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
        d.residual(p, part === 0 ? "attention" : "cross-attention", layer);
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
      d.residual(mlp, "mlp", layer);
    }
    d.norm(`${side}.final_layer_norm`, n, { bias: false });
  }
  d.head("lm_head", n, c.vocab_size, tied(c) ? "shared.weight" : undefined);
  return d;
}
