/** GPT-2 (learned positions, layer norm before each part, fused qkv, tied head). Names as in the HF checkpoint; matrices lie [in, out]. */
import {
  add,
  dropoutAt,
  type ForwardContext,
  gather,
  type KvPair,
  type Model,
  type ModelInfo,
  type ModelInput,
  type Outputs,
  type ParamTree,
  type Site,
  split,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attend } from "../attention.js";
import { embedSequence } from "../sequence.js";
import { param, siteAround, siteLayerNorm, siteLinear, siteResidual, wanted } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const gpt2ConfigSchema = z.looseObject({
  model_type: z.literal("gpt2").default("gpt2"),
  ...commonFields,
  vocab_size: z.number().int().positive().default(50257),
  n_positions: z.number().int().positive().default(1024),
  n_embd: z.number().int().positive().default(768),
  n_layer: z.number().int().positive().default(12),
  n_head: z.number().int().positive().default(12),
  n_inner: z.number().int().positive().nullish(),
  activation_function: activationName.default("gelu_new"),
  /** Scores are divided by √headDim; and by the number of the block, from 1 on. */
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  add_cross_attention: only(false),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  tie_word_embeddings: z.boolean().default(true),
  embd_pdrop: dropoutRate(0.1),
  attn_pdrop: dropoutRate(0.1),
  resid_pdrop: dropoutRate(0.1),
  // The order and the width of the same products, and heads that are other models.
  ...neutral(
    "reorder_and_upcast_attn",
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_proj_to_labels",
    "summary_first_dropout",
  ),
});
export type Gpt2Config = z.input<typeof gpt2ConfigSchema>;
type Config = z.output<typeof gpt2ConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of GPT-2 */
export const gpt2: Build<Gpt2Config> = gpt2FromConfig;

/** The same from a config that nothing is known of yet. */
export function gpt2FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("gpt2", gpt2ConfigSchema, config);
  const declared = declare(c);
  const site = declared.byPath();
  const info: ModelInfo = {
    architecture: "gpt2",
    task: "causal-lm",
    input: "tokens",
    config: c,
    vocabSize: c.vocab_size,
    hiddenSize: c.n_embd,
    layers: c.n_layer,
    heads: c.n_head,
    maxLength: c.n_positions,
    params: declared.params,
    sites: declared.sites,
  };
  return { info, params: weights, forward: (params, input, context) => forward(c, site, params, input, context) };
}

function forward(c: Config, site: (path: string) => Site, params: ParamTree, input: ModelInput, given: ForwardContext): Outputs {
  const { embeddings, mask, positions, prefix, context } = embedSequence(site("transformer.wte"), params, input, given);
  const act = activation(c.activation_function);
  let x = dropoutAt(add(embeddings, gather(param(params, "transformer.wpe.weight"), positions)), c.embd_pdrop, context, "transformer.drop");
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  const cache: KvPair[] = [];
  for (let i = 0; i < c.n_layer; i++) {
    const at = (name: string): Site => site(`transformer.h.${i}${name}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const dropped = (name: string, h: Tensor): Tensor => dropoutAt(linear(name, h), c.resid_pdrop, context, at(name).path);
      const attention = (h: Tensor): Tensor => {
        const [q, k, v] = split(linear(".attn.c_attn", h), -1, 3);
        const sites = { kv: at(".attn.kv"), scores: at(".attn.scores") };
        const attended = attend(context, sites, q!, k!, v!, {
          heads: c.n_head,
          mask,
          causal: true,
          past: input.cache?.[i],
          scale: scoreScale(c, i),
          dropout: c.attn_pdrop,
        });
        cache.push(attended.cache);
        attentions.push(attended.weights);
        return dropped(".attn.c_proj", attended.mixed);
      };
      const mlp = (h: Tensor): Tensor => dropped(".mlp.c_proj", act(linear(".mlp.c_fc", h)));
      const normed = siteLayerNorm(context, at(".ln_1"), params, h0, c.layer_norm_epsilon);
      const h1 = siteResidual(context, at(".attn.residual"), h0, siteAround(context, at(".attn"), normed, attention));
      const normed1 = siteLayerNorm(context, at(".ln_2"), params, h1, c.layer_norm_epsilon);
      return siteResidual(context, at(".mlp.residual"), h1, siteAround(context, at(".mlp"), normed1, mlp));
    });
    hidden.push(x);
  }
  const last = siteLayerNorm(context, site("transformer.ln_f"), params, x, c.layer_norm_epsilon);
  return {
    logits: siteLinear(context, site("lm_head"), params, last),
    last,
    prefix,
    ...wanted(context, { hidden, attentions, cache }),
  };
}

function scoreScale(c: Config, layer: number): number {
  const byWidth = c.scale_attn_weights ? (c.n_embd / c.n_head) ** -0.5 : 1;
  return c.scale_attn_by_inverse_layer_idx ? byWidth / (layer + 1) : byWidth;
}

function declare(c: Config): Declarations {
  const d = new Declarations();
  const [n, inner] = [c.n_embd, c.n_inner ?? 4 * c.n_embd];
  const attention = { heads: c.n_head, kvHeads: c.n_head, headDim: n / c.n_head };
  const parts = (["q", "k", "v"] as const).map((role) => ({ role, size: n }));
  d.embedding("transformer.wte", c.vocab_size, n);
  d.param("transformer.wpe.weight", [c.n_positions, n]);
  for (let layer = 0; layer < c.n_layer; layer++) {
    const p = `transformer.h.${layer}`;
    d.site(p, "block", layer);
    d.norm(`${p}.ln_1`, n, { bias: true, layer });
    d.site(`${p}.attn`, "attention", layer, attention);
    d.linear(`${p}.attn.c_attn`, { role: "qkv", layer, in: n, out: 3 * n, layout: "in-out", parts });
    d.site(`${p}.attn.kv`, "kv", layer, attention);
    d.site(`${p}.attn.scores`, "scores", layer, attention);
    d.linear(`${p}.attn.c_proj`, { role: "o", layer, in: n, out: n, layout: "in-out" });
    d.residual(`${p}.attn`, "attention", layer);
    d.norm(`${p}.ln_2`, n, { bias: true, layer });
    d.site(`${p}.mlp`, "mlp", layer);
    d.linear(`${p}.mlp.c_fc`, { role: "in", layer, in: n, out: inner, layout: "in-out" });
    d.linear(`${p}.mlp.c_proj`, { role: "out", layer, in: inner, out: n, layout: "in-out" });
    d.residual(`${p}.mlp`, "mlp", layer);
  }
  d.norm("transformer.ln_f", n, { bias: true });
  d.head("lm_head", n, c.vocab_size, c.tie_word_embeddings ? "transformer.wte.weight" : undefined);
  return d;
}
