/**
 * Llama, Qwen2 and Mixtral (RMSNorm, rotary positions, grouped-query attention, SwiGLU; Qwen2 adds biases to q, k, v; Mixtral has a mixture of
 * MLPs in place of each). Names as in the HF checkpoints.
 */
import {
  add,
  applyRotary,
  type ForwardContext,
  type KvPair,
  LfmError,
  type Model,
  type ModelInfo,
  type ModelInput,
  mul,
  type Outputs,
  type ParamTree,
  type RotaryTables,
  reshape,
  rotaryTables,
  type Site,
  silu,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attend } from "../attention.js";
import { embedSequence } from "../sequence.js";
import { siteAround, siteLinear, siteRmsNorm } from "../sites.js";
import { declareSparseMlp, sparseMlp } from "../sparse-mlp.js";
import { Declarations } from "./declarations.js";
import { type Build, dropoutRate, parseConfig, type UncheckedConfig } from "./parse-config.js";

const llamaConfigSchema = z.looseObject({
  model_type: z.enum(["llama", "qwen2", "mixtral"]).default("llama"),
  vocab_size: z.number().int().positive(),
  hidden_size: z.number().int().positive(),
  intermediate_size: z.number().int().positive(),
  num_hidden_layers: z.number().int().positive(),
  num_attention_heads: z.number().int().positive(),
  num_key_value_heads: z.number().int().positive().optional(),
  head_dim: z.number().int().positive().nullish(),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().optional(),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().optional(), rope_type: z.string().optional() }).nullish(),
  max_position_embeddings: z.number().int().positive().default(2048),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  hidden_act: z.literal("silu").default("silu"),
  attention_dropout: dropoutRate(0),
  use_sliding_window: z.boolean().default(false),
  sliding_window: z.number().nullish(),
  num_local_experts: z.number().int().positive().optional(),
  num_experts_per_tok: z.number().int().positive().default(2),
  rope_scaling: z.looseObject({ rope_type: z.string().optional(), type: z.string().optional() }).nullish(),
});
export type LlamaConfig = z.input<typeof llamaConfigSchema>;
type Config = z.output<typeof llamaConfigSchema>;

export const llama: Build<LlamaConfig> = llamaFromConfig;

/** The same from a config that nothing is known of yet. */
export function llamaFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const given = config.model_type === "mixtral" ? { ...mixtralDefaults, ...config } : config;
  const c = parseConfig("llama", llamaConfigSchema, given);
  const ropeType = c.rope_parameters?.rope_type ?? c.rope_scaling?.rope_type ?? c.rope_scaling?.type ?? "default";
  if (ropeType !== "default")
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/models] ${c.model_type}: rotary positions of type "${ropeType}" are not known; only "default" is`,
    );
  if (c.use_sliding_window || (c.model_type === "mixtral" && c.sliding_window))
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${c.model_type}: attention over a sliding window is not known`);
  const declared = declare(c);
  const site = declared.byPath();
  const info: ModelInfo = {
    architecture: c.model_type,
    task: "causal-lm",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    maxLength: c.max_position_embeddings,
    params: declared.params,
    sites: declared.sites,
  };
  return { info, params: weights, forward: (params, input, context) => forward(c, site, params, input, context) };
}

/** transformers' own, where they are not llama's. */
const mixtralDefaults = { num_local_experts: 8, num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 1e6 };

/** The place of a block's MLP. */
function mlpPath(c: Config, layer: number): string {
  return `model.layers.${layer}.${c.model_type === "mixtral" ? "block_sparse_moe" : "mlp"}`;
}

function headDim(c: Config): number {
  return c.head_dim ?? c.hidden_size / c.num_attention_heads;
}

function kvHeads(c: Config): number {
  return c.num_key_value_heads ?? c.num_attention_heads;
}

/** Queries or keys f32[batch, seq, heads·headDim], turned by their positions. */
function turned(x: Tensor, dim: number, rotary: RotaryTables): Tensor {
  const [batch, seq] = [x.dim(0), x.dim(1)];
  return reshape(applyRotary(reshape(x, [batch, seq, (x.dim(2) as number) / dim, dim]), rotary), x.shape);
}

function forward(c: Config, site: (path: string) => Site, params: ParamTree, input: ModelInput, given: ForwardContext): Outputs {
  const { embeddings, mask, positions, prefix, context } = embedSequence(site("model.embed_tokens"), params, input, given);
  const rotary = rotaryTables(positions, headDim(c), c.rope_parameters?.rope_theta ?? c.rope_theta ?? 10000);
  const hidden: Tensor[] = [embeddings];
  const attentions: Tensor[] = [];
  const cache: KvPair[] = [];
  let x = embeddings;
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = (name: string): Site => site(`model.layers.${i}${name}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const norm = (name: string, h: Tensor): Tensor => siteRmsNorm(context, at(name), params, h, c.rms_norm_eps);
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const attention = (h: Tensor): Tensor => {
        const [q, k] = [linear(".self_attn.q_proj", h), linear(".self_attn.k_proj", h)].map((x) => turned(x, headDim(c), rotary));
        const v = linear(".self_attn.v_proj", h);
        const sites = { kv: at(".self_attn.kv"), scores: at(".self_attn.scores") };
        const attended = attend(context, sites, q!, k!, v, {
          heads: c.num_attention_heads,
          kvHeads: kvHeads(c),
          mask,
          causal: true,
          past: input.cache?.[i],
          dropout: c.attention_dropout,
        });
        cache.push(attended.cache);
        attentions.push(attended.weights);
        return linear(".self_attn.o_proj", attended.mixed);
      };
      const gated = (h: Tensor): Tensor => linear(".mlp.down_proj", mul(silu(linear(".mlp.gate_proj", h)), linear(".mlp.up_proj", h)));
      const mlp = (h: Tensor): Tensor =>
        c.model_type === "mixtral"
          ? sparseMlp(context, site, params, h, { path: mlpPath(c, i), experts: c.num_local_experts! }, c.num_experts_per_tok)
          : siteAround(context, at(".mlp"), h, gated);
      const h1 = add(h0, siteAround(context, at(".self_attn"), norm(".input_layernorm", h0), attention));
      return add(h1, mlp(norm(".post_attention_layernorm", h1)));
    });
    hidden.push(x);
  }
  const last = siteRmsNorm(context, site("model.norm"), params, x, c.rms_norm_eps);
  const want = context.want ?? {};
  return {
    logits: siteLinear(context, site("lm_head"), params, last),
    last,
    prefix,
    ...(want.hidden ? { hidden } : {}),
    ...(want.attentions ? { attentions } : {}),
    ...(want.cache ? { cache } : {}),
  };
}

function declare(c: Config): Declarations {
  const d = new Declarations();
  const { hidden_size: n, intermediate_size: inner } = c;
  const [qSize, kvSize] = [c.num_attention_heads * headDim(c), kvHeads(c) * headDim(c)];
  const attention = { heads: c.num_attention_heads, kvHeads: kvHeads(c), headDim: headDim(c) };
  const qkvBias = c.model_type === "qwen2" || c.attention_bias;
  const oBias = c.model_type === "llama" && c.attention_bias;
  d.embedding("model.embed_tokens", c.vocab_size, n);
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const p = `model.layers.${layer}`;
    d.site(p, "block", layer);
    d.norm(`${p}.input_layernorm`, n, { bias: false, layer });
    d.site(`${p}.self_attn`, "attention", layer, attention);
    d.linear(`${p}.self_attn.q_proj`, { role: "q", layer, in: n, out: qSize, bias: qkvBias });
    d.linear(`${p}.self_attn.k_proj`, { role: "k", layer, in: n, out: kvSize, bias: qkvBias });
    d.linear(`${p}.self_attn.v_proj`, { role: "v", layer, in: n, out: kvSize, bias: qkvBias });
    d.site(`${p}.self_attn.kv`, "kv", layer, attention);
    d.site(`${p}.self_attn.scores`, "scores", layer, attention);
    d.linear(`${p}.self_attn.o_proj`, { role: "o", layer, in: qSize, out: n, bias: oBias });
    d.norm(`${p}.post_attention_layernorm`, n, { bias: false, layer });
    if (c.model_type === "mixtral") {
      declareSparseMlp(d, { path: mlpPath(c, layer), layer, hidden: n, inner, experts: c.num_local_experts! });
      continue;
    }
    d.site(`${p}.mlp`, "mlp", layer);
    d.linear(`${p}.mlp.gate_proj`, { role: "gate", layer, in: n, out: inner, bias: c.mlp_bias });
    d.linear(`${p}.mlp.up_proj`, { role: "in", layer, in: n, out: inner, bias: c.mlp_bias });
    d.linear(`${p}.mlp.down_proj`, { role: "out", layer, in: inner, out: n, bias: c.mlp_bias });
  }
  d.norm("model.norm", n, { bias: false });
  d.head("lm_head", n, c.vocab_size, c.tie_word_embeddings ? "model.embed_tokens.weight" : undefined);
  return d;
}
