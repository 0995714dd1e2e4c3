/** Llama and Qwen2 (RMSNorm, rotary positions, grouped-query attention, SwiGLU; Qwen2 adds biases to q, k, v). Names as in the HF checkpoints. */
import {
  add,
  applyRotary,
  attention,
  concat,
  type Dim,
  dimAdd,
  dimSub,
  type ForwardContext,
  hookKv,
  hookOutput,
  type KvPair,
  type Model,
  type ModelInfo,
  type ModelInput,
  mergeHeads,
  mul,
  type Outputs,
  type ParamInfo,
  type ParamTree,
  rotaryTables,
  type Site,
  silu,
  splitHeads,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attentionBias, embedSequence, pastLength } from "../sequence.js";
import { siteAround, siteLinear, siteRmsNorm } from "../sites.js";

export const llamaConfigSchema = z.looseObject({
  model_type: z.enum(["llama", "qwen2"]).default("llama"),
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
});
export type LlamaConfig = z.input<typeof llamaConfigSchema>;
type Config = z.output<typeof llamaConfigSchema>;

export function llama(config: LlamaConfig, weights: Weights = {}): Model {
  const c = llamaConfigSchema.parse(config);
  const info = describe(c);
  const site = new Map(info.sites.map((s) => [s.path, s]));
  return { info, params: weights, forward: (params, input, context) => forward(c, site, params, input, context) };
}

function headDim(c: Config): number {
  return c.head_dim ?? c.hidden_size / c.num_attention_heads;
}

function forward(c: Config, sites: ReadonlyMap<string, Site>, params: ParamTree, input: ModelInput, context: ForwardContext): Outputs {
  const site = (path: string): Site => sites.get(path)!;
  const { embeddings, mask, positions, prefix } = embedSequence(site("model.embed_tokens"), params, input, context);
  const past = pastLength(input);
  const seq = embeddings.dim(1);
  const rotary = rotaryTables(positions, headDim(c), c.rope_parameters?.rope_theta ?? c.rope_theta ?? 10000);
  const hidden: Tensor[] = [embeddings];
  const attentions: Tensor[] = [];
  const cache: KvPair[] = [];
  let x = embeddings;
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = (name: string): Site => site(`model.layers.${i}${name}`);
    x = siteAround(context, at(""), x, (h0) => {
      const attended = siteAround(
        context,
        at(".self_attn"),
        siteRmsNorm(context, at(".input_layernorm"), params, h0, c.rms_norm_eps),
        (h) => {
          const q = applyRotary(splitHeads(siteLinear(context, at(".self_attn.q_proj"), params, h), c.num_attention_heads), rotary);
          const kvHeads = c.num_key_value_heads ?? c.num_attention_heads;
          let k = applyRotary(splitHeads(siteLinear(context, at(".self_attn.k_proj"), params, h), kvHeads), rotary);
          let v = splitHeads(siteLinear(context, at(".self_attn.v_proj"), params, h), kvHeads);
          const before = input.cache?.[i];
          if (before) [k, v] = [concat([before.key, k], 2), concat([before.value, v], 2)];
          cache.push({ key: k, value: v });
          const kv = hookKv({ key: k, value: v, mask }, at(".self_attn.kv"), context);
          const offset: Dim = dimAdd(past, kv.mask === mask ? 0 : prefixLength(kv.mask!, mask));
          const { mixed, weights } = attention(q, kv.key, kv.value, { bias: attentionBias(kv.mask!, seq, offset, true) });
          attentions.push(hookOutput(weights, q, at(".self_attn.scores"), context));
          return siteLinear(context, at(".self_attn.o_proj"), params, mergeHeads(mixed));
        },
      );
      const h1 = add(h0, attended);
      const moved = siteAround(
        context,
        at(".mlp"),
        siteRmsNorm(context, at(".post_attention_layernorm"), params, h1, c.rms_norm_eps),
        (h) => {
          const gate = silu(siteLinear(context, at(".mlp.gate_proj"), params, h));
          return siteLinear(context, at(".mlp.down_proj"), params, mul(gate, siteLinear(context, at(".mlp.up_proj"), params, h)));
        },
      );
      return add(h1, moved);
    });
    hidden.push(x);
  }
  const last = siteRmsNorm(context, site("model.norm"), params, x, c.rms_norm_eps);
  const logits = siteLinear(context, site("lm_head"), params, last);
  const want = context.want ?? {};
  return {
    logits,
    last,
    prefix,
    ...(want.hidden ? { hidden } : {}),
    ...(want.attentions ? { attentions } : {}),
    ...(want.cache ? { cache } : {}),
  };
}

function prefixLength(longer: Tensor, shorter: Tensor): Dim {
  return dimSub(longer.dim(1), shorter.dim(1));
}

function describe(c: Config): ModelInfo {
  const { hidden_size: d, intermediate_size: f } = c;
  const [qSize, kvSize] = [c.num_attention_heads * headDim(c), (c.num_key_value_heads ?? c.num_attention_heads) * headDim(c)];
  const params: Record<string, ParamInfo> = {};
  const sites: Site[] = [];
  const declare = (name: string, shape: readonly number[]): void => {
    params[name] = { shape, dtype: "f32", trainable: true };
  };
  const linear = (path: string, role: NonNullable<Site["role"]>, layer: number, inner: number, out: number, bias: boolean): void => {
    declare(`${path}.weight`, [out, inner]);
    if (bias) declare(`${path}.bias`, [out]);
    sites.push({
      path,
      kind: "linear",
      role,
      layer,
      weight: { name: `${path}.weight`, ...(bias ? { bias: `${path}.bias` } : {}), layout: "out-in", in: inner, out },
    });
  };
  const norm = (path: string, layer?: number): void => {
    declare(`${path}.weight`, [d]);
    sites.push({ path, kind: "norm", ...(layer === undefined ? {} : { layer }) });
  };
  declare("model.embed_tokens.weight", [c.vocab_size, d]);
  sites.push({
    path: "model.embed_tokens",
    kind: "embedding",
    weight: { name: "model.embed_tokens.weight", layout: "in-out", in: c.vocab_size, out: d },
  });
  const qkvBias = c.model_type === "qwen2" || c.attention_bias;
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const p = `model.layers.${i}`;
    sites.push({ path: p, kind: "block", layer: i });
    norm(`${p}.input_layernorm`, i);
    sites.push({ path: `${p}.self_attn`, kind: "attention", layer: i });
    linear(`${p}.self_attn.q_proj`, "q", i, d, qSize, qkvBias);
    linear(`${p}.self_attn.k_proj`, "k", i, d, kvSize, qkvBias);
    linear(`${p}.self_attn.v_proj`, "v", i, d, kvSize, qkvBias);
    sites.push({ path: `${p}.self_attn.kv`, kind: "kv", layer: i }, { path: `${p}.self_attn.scores`, kind: "scores", layer: i });
    linear(`${p}.self_attn.o_proj`, "o", i, qSize, d, c.attention_bias);
    norm(`${p}.post_attention_layernorm`, i);
    sites.push({ path: `${p}.mlp`, kind: "mlp", layer: i });
    linear(`${p}.mlp.gate_proj`, "gate", i, d, f, false);
    linear(`${p}.mlp.up_proj`, "in", i, d, f, false);
    linear(`${p}.mlp.down_proj`, "out", i, f, d, false);
  }
  norm("model.norm");
  const headName = c.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  if (!c.tie_word_embeddings) declare("lm_head.weight", [c.vocab_size, d]);
  sites.push({ path: "lm_head", kind: "head", weight: { name: headName, layout: "out-in", in: d, out: c.vocab_size } });
  return {
    architecture: c.model_type,
    task: "causal-lm",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: d,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    maxLength: c.max_position_embeddings,
    params,
    sites,
  };
}
