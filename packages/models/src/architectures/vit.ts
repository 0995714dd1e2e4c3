/** ViT (arXiv 2010.11929): patches, a class token, pre-norm encoder; classifier on the class token. Names as in the HF checkpoint. */
import {
  add,
  broadcastTo,
  concat,
  dropoutAt,
  type ForwardContext,
  full,
  LfmError,
  type Model,
  type ModelInfo,
  type ModelInput,
  type Outputs,
  type ParamTree,
  reshape,
  type Site,
  slice,
  squeeze,
  type Tensor,
  transpose,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { attend } from "../attention.js";
import { param, siteAround, siteConv, siteLayerNorm, siteLinear } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { classCount } from "./bert.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const vitConfigSchema = z.looseObject({
  model_type: z.literal("vit").default("vit"),
  ...commonFields,
  hidden_size: z.number().int().positive().default(768),
  num_hidden_layers: z.number().int().positive().default(12),
  num_attention_heads: z.number().int().positive().default(12),
  intermediate_size: z.number().int().positive().default(3072),
  hidden_act: activationName.default("gelu"),
  layer_norm_eps: z.number().positive().default(1e-12),
  hidden_dropout_prob: dropoutRate(0),
  attention_probs_dropout_prob: dropoutRate(0),
  image_size: z.number().int().positive().default(224),
  patch_size: z.number().int().positive().default(16),
  num_channels: z.number().int().positive().default(3),
  qkv_bias: z.boolean().default(true),
  pooler_output_size: z.number().int().positive().nullish(),
  pooler_act: activationName.default("tanh"),
  add_pooling_layer: z.boolean().default(true),
  // Of the decoder of masked images, which is another model.
  ...neutral("encoder_stride"),
});
export type VitConfig = z.input<typeof vitConfigSchema>;
type Config = z.output<typeof vitConfigSchema>;

/**
 * An encoder (`ViTModel`, names without a prefix, `pooled` through its pooler), or a classifier where `architectures` names
 * `ViTForImageClassification` (names under `vit.`; the classifier reads the class token after the last norm).
 * @throws {LfmError} CONFIG_INVALID for a config that is none of ViT
 */
export const vit: Build<VitConfig> = vitFromConfig;

/** The same from a config that nothing is known of yet. */
export function vitFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("vit", vitConfigSchema, config);
  const classes = c.architectures?.[0]?.endsWith("ForImageClassification") ? classCount(c) : undefined;
  const prefix = classes ? "vit." : "";
  const declared = declare(c, prefix, classes);
  const find = declared.byPath();
  const pooling = activation(c.pooler_act);
  const info: ModelInfo = {
    architecture: "vit",
    task: classes ? "classifier" : "encoder",
    input: "pixels",
    config: c,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    ...(classes ? { classes } : {}),
    params: declared.params,
    sites: declared.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      const out = encode(c, prefix, find, params, input, context);
      if (classes) return { ...out, logits: siteLinear(context, find("classifier"), params, out.pooled!) };
      return c.add_pooling_layer ? { ...out, pooled: pooling(siteLinear(context, find("pooler.dense"), params, out.pooled!)) } : out;
    },
  };
}

function encode(
  c: Config,
  prefix: string,
  find: (path: string) => Site,
  params: ParamTree,
  input: ModelInput,
  context: ForwardContext,
): Outputs {
  const site = (path: string): Site => find(`${prefix}${path}`);
  const get = (name: string): Tensor => param(params, `${prefix}${name}`);
  if (!input.pixels)
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] vit reads pixels f32[batch, channels, height, width]; the input has none");
  const act = activation(c.hidden_act);
  const batch = input.pixels.dim(0);
  const projection = site("embeddings.patch_embeddings.projection");
  const grid = siteConv(context, projection, params, input.pixels);
  const patches = transpose(reshape(grid, [batch, c.hidden_size, patchCount(c)]), [0, 2, 1]);
  const front = broadcastTo(get("embeddings.cls_token"), [batch, 1, c.hidden_size]);
  const placed = add(concat([front, patches], 1), get("embeddings.position_embeddings"));
  let x = dropoutAt(placed, c.hidden_dropout_prob, context, projection.path);
  const mask = full([batch, x.dim(1)], 1);
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = (name: string): Site => site(`encoder.layer.${i}${name}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
      const dropped = (name: string, h: Tensor): Tensor => dropoutAt(linear(name, h), c.hidden_dropout_prob, context, at(name).path);
      const norm = (name: string, h: Tensor): Tensor => siteLayerNorm(context, at(name), params, h, c.layer_norm_eps);
      const attention = (h: Tensor): Tensor => {
        const part = (name: string): Tensor => linear(`.attention.attention.${name}`, h);
        const sites = { kv: at(".attention.attention.kv"), scores: at(".attention.attention.scores") };
        const attended = attend(context, sites, part("query"), part("key"), part("value"), {
          heads: c.num_attention_heads,
          mask,
          causal: false,
          dropout: c.attention_probs_dropout_prob,
        });
        attentions.push(attended.weights);
        return dropped(".attention.output.dense", attended.mixed);
      };
      const mlp = (h: Tensor): Tensor => dropped(".output.dense", act(linear(".intermediate.dense", h)));
      const h1 = add(h0, siteAround(context, at(".attention"), norm(".layernorm_before", h0), attention));
      return add(h1, siteAround(context, at(".mlp"), norm(".layernorm_after", h1), mlp));
    });
    hidden.push(x);
  }
  const last = siteLayerNorm(context, site("layernorm"), params, x, c.layer_norm_eps);
  const want = context.want ?? {};
  return {
    last,
    pooled: squeeze(slice(last, 1, 0, 1), 1),
    ...(want.hidden ? { hidden } : {}),
    ...(want.attentions ? { attentions } : {}),
  };
}

function patchCount(c: Config): number {
  return Math.floor(c.image_size / c.patch_size) ** 2;
}

function declare(c: Config, prefix: string, classes: number | undefined): Declarations {
  const d = new Declarations();
  const n = c.hidden_size;
  const attention = { heads: c.num_attention_heads, kvHeads: c.num_attention_heads, headDim: n / c.num_attention_heads };
  const projection = `${prefix}embeddings.patch_embeddings.projection`;
  d.param(`${prefix}embeddings.cls_token`, [1, 1, n]);
  d.param(`${prefix}embeddings.position_embeddings`, [1, patchCount(c) + 1, n]);
  d.conv(projection, { in: c.num_channels, out: n, kernel: c.patch_size, stride: c.patch_size });
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const p = `${prefix}encoder.layer.${layer}`;
    d.site(p, "block", layer);
    d.norm(`${p}.layernorm_before`, n, { bias: true, layer });
    d.site(`${p}.attention`, "attention", layer, attention);
    d.linear(`${p}.attention.attention.query`, { role: "q", layer, in: n, out: n, bias: c.qkv_bias });
    d.linear(`${p}.attention.attention.key`, { role: "k", layer, in: n, out: n, bias: c.qkv_bias });
    d.linear(`${p}.attention.attention.value`, { role: "v", layer, in: n, out: n, bias: c.qkv_bias });
    d.site(`${p}.attention.attention.kv`, "kv", layer, attention);
    d.site(`${p}.attention.attention.scores`, "scores", layer, attention);
    d.linear(`${p}.attention.output.dense`, { role: "o", layer, in: n, out: n });
    d.norm(`${p}.layernorm_after`, n, { bias: true, layer });
    d.site(`${p}.mlp`, "mlp", layer);
    d.linear(`${p}.intermediate.dense`, { role: "in", layer, in: n, out: c.intermediate_size });
    d.linear(`${p}.output.dense`, { role: "out", layer, in: c.intermediate_size, out: n });
  }
  d.norm(`${prefix}layernorm`, n, { bias: true });
  if (classes) d.linear("classifier", { kind: "head", role: "classifier", in: n, out: classes });
  else if (c.add_pooling_layer) d.linear("pooler.dense", { kind: "pooler", in: n, out: c.pooler_output_size ?? n });
  return d;
}
