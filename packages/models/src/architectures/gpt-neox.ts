/**
 * GPT-NeoX (arXiv 2204.06745; Pythia): layer norms, attention and MLP beside each other, a part of each head turned, q, k and v in one layer head
 * by head. Names as in the HF checkpoint.
 */
import {
  applyRotary,
  type Dim,
  dropoutAt,
  type ForwardContext,
  type KvPair,
  type Model,
  type ModelInfo,
  type ModelInput,
  type Outputs,
  type ParamTree,
  reshape,
  type Site,
  split,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attend } from "../attention.js";
import { type Rotary, readRotary, rotaryFields } from "../rotary.js";
import { embedSequence } from "../sequence.js";
import { siteAround, siteLayerNorm, siteLinear, siteResidual, wanted } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, parseConfig, type UncheckedConfig } from "./parse-config.js";

const count = z.number().int().positive();

export const gptNeoxConfigSchema = z.looseObject({
  model_type: z.literal("gpt_neox").default("gpt_neox"),
  ...commonFields,
  ...rotaryFields,
  vocab_size: count.default(50_432),
  hidden_size: count.default(6144),
  num_hidden_layers: count.default(44),
  num_attention_heads: count.default(64),
  intermediate_size: count.default(24_576),
  hidden_act: activationName.default("gelu"),
  attention_dropout: dropoutRate(0),
  hidden_dropout: dropoutRate(0),
  max_position_embeddings: count.default(2048),
  layer_norm_eps: z.number().positive().default(1e-5),
  tie_word_embeddings: z.boolean().default(false),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
  /** Of older configs: base of the frequencies, and the share of a head that is turned. */
  rotary_emb_base: z.number().positive().nullish(),
  rotary_pct: z.number().positive().max(1).nullish(),
  // Of a classifier of tokens, which is another model; it is causal whatever is_decoder says.
  ...neutral("classifier_dropout", "is_decoder"),
});
export type GptNeoxConfig = z.input<typeof gptNeoxConfigSchema>;
type Config = z.output<typeof gptNeoxConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of GPT-NeoX */
export const gptNeox: Build<GptNeoxConfig> = gptNeoxFromConfig;

/** The same from a config that nothing is known of yet. */
export function gptNeoxFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("gpt_neox", gptNeoxConfigSchema, config);
  const rotary = readRotary(
    { ...c, rope_theta: c.rotary_emb_base, partial_rotary_factor: c.rotary_pct },
    { architecture: "gpt_neox", headDim: headDim(c), theta: 10_000, share: 0.25 },
  );
  const declared = declare(c);
  const site = declared.byPath();
  const info: ModelInfo = {
    architecture: "gpt_neox",
    task: "causal-lm",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    maxLength: rotary.maxLength,
    ...(rotary.sharedBeyond === undefined ? {} : { sharedBeyond: rotary.sharedBeyond }),
    params: declared.params,
    sites: declared.sites,
  };
  return { info, params: weights, forward: (params, input, context) => forward(c, rotary, site, params, input, context) };
}

function headDim(c: Config): number {
  return c.hidden_size / c.num_attention_heads;
}

function forward(
  c: Config,
  rotary: Rotary,
  site: (path: string) => Site,
  params: ParamTree,
  input: ModelInput,
  given: ForwardContext,
): Outputs {
  const { embeddings, mask, positions, prefix, context } = embedSequence(site("gpt_neox.embed_in"), params, input, given);
  const act = activation(c.hidden_act);
  const tables = rotary.tables(positions);
  let x = dropoutAt(embeddings, c.hidden_dropout, context, "gpt_neox.emb_dropout");
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  const cache: KvPair[] = [];
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = (name: string): Site => site(`gpt_neox.layers.${i}${name}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const norm = (name: string, h: Tensor): Tensor => siteLayerNorm(context, at(name), params, h, c.layer_norm_eps);
      const dropped = (name: string, h: Tensor): Tensor => dropoutAt(h, c.hidden_dropout, context, at(name).path);
      const attention = (h: Tensor): Tensor => {
        const [q, k, v] = byHead(c, linear(".attention.query_key_value", h));
        const turned = (x: Tensor): Tensor => applyRotary(joined(x), headDim(c), tables);
        const sites = { kv: at(".attention.kv"), scores: at(".attention.scores") };
        const attended = attend(context, sites, turned(q), turned(k), joined(v), {
          heads: c.num_attention_heads,
          mask,
          causal: true,
          past: input.cache?.[i],
          dropout: c.attention_dropout,
        });
        cache.push(attended.cache);
        attentions.push(attended.weights);
        return linear(".attention.dense", attended.mixed);
      };
      const mlp = (h: Tensor): Tensor => linear(".mlp.dense_4h_to_h", act(linear(".mlp.dense_h_to_4h", h)));
      const attended = dropped(".attention", siteAround(context, at(".attention"), norm(".input_layernorm", h0), attention));
      const h1 = siteResidual(context, at(".attention.residual"), h0, attended);
      const read = norm(".post_attention_layernorm", c.use_parallel_residual ? h0 : h1);
      return siteResidual(context, at(".mlp.residual"), h1, dropped(".mlp", siteAround(context, at(".mlp"), read, mlp)));
    });
    hidden.push(x);
  }
  const last = siteLayerNorm(context, site("gpt_neox.final_layer_norm"), params, x, c.layer_norm_eps);
  return {
    logits: siteLinear(context, site("embed_out"), params, last),
    last,
    prefix,
    ...wanted(context, { hidden, attentions, cache }),
  };
}

/** The fused layer's outputs f32[batch, seq, 3·hidden] as q, k and v, f32[batch, seq, heads, headDim] each. */
function byHead(c: Config, qkv: Tensor): readonly [Tensor, Tensor, Tensor] {
  const heads = reshape(qkv, [qkv.dim(0), qkv.dim(1), c.num_attention_heads, 3 * headDim(c)]);
  const [q, k, v] = split(heads, -1, 3);
  return [q!, k!, v!];
}

/** f32[batch, seq, heads, headDim] → f32[batch, seq, heads·headDim] */
function joined(x: Tensor): Tensor {
  const [batch, seq, heads, dim] = x.shape as readonly [Dim, Dim, number, number];
  return reshape(x, [batch, seq, heads * dim]);
}

function declare(c: Config): Declarations {
  const d = new Declarations();
  const { hidden_size: n, intermediate_size: inner, num_attention_heads: heads, attention_bias: bias } = c;
  const attention = { heads, kvHeads: heads, headDim: headDim(c) };
  const head = (["q", "k", "v"] as const).map((role) => ({ role, size: headDim(c) }));
  const parts = Array.from({ length: heads }, () => head).flat();
  d.embedding("gpt_neox.embed_in", c.vocab_size, n);
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const p = `gpt_neox.layers.${layer}`;
    d.site(p, "block", layer);
    d.norm(`${p}.input_layernorm`, n, { bias: true, layer });
    d.site(`${p}.attention`, "attention", layer, attention);
    d.linear(`${p}.attention.query_key_value`, { role: "qkv", layer, in: n, out: 3 * n, bias, parts });
    d.site(`${p}.attention.kv`, "kv", layer, attention);
    d.site(`${p}.attention.scores`, "scores", layer, attention);
    d.linear(`${p}.attention.dense`, { role: "o", layer, in: n, out: n, bias });
    d.residual(`${p}.attention`, "attention", layer);
    d.norm(`${p}.post_attention_layernorm`, n, { bias: true, layer });
    d.site(`${p}.mlp`, "mlp", layer);
    d.linear(`${p}.mlp.dense_h_to_4h`, { role: "in", layer, in: n, out: inner });
    d.linear(`${p}.mlp.dense_4h_to_h`, { role: "out", layer, in: inner, out: n });
    d.residual(`${p}.mlp`, "mlp", layer);
  }
  d.norm("gpt_neox.final_layer_norm", n, { bias: true });
  d.head("embed_out", n, c.vocab_size, c.tie_word_embeddings ? "gpt_neox.embed_in.weight" : undefined);
  return d;
}
