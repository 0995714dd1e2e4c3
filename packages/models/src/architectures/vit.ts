/** ViT (arXiv 2010.11929): patches, a class token, pre-norm encoder; classifier on the class token. Names as in the HF checkpoint. */
import type { Model, ModelInfo, Weights } from "@lfm/core";
import { z } from "zod";
import { siteLinear } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { classCount } from "./bert.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, parseConfig, type UncheckedConfig } from "./parse-config.js";
import { declareVision, encodeVision, type VisionLayer, visionSizes } from "./vision-encoder.js";

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
  const [sizes, layer] = [visionSizes("vit", c), layerOf(c)];
  const declared = new Declarations();
  declareVision(declared, sizes, layer, prefix);
  if (classes) declared.linear("classifier", { kind: "head", role: "classifier", in: c.hidden_size, out: classes });
  else if (c.add_pooling_layer)
    declared.linear("pooler.dense", { kind: "pooler", in: c.hidden_size, out: c.pooler_output_size ?? c.hidden_size });
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
      const out = encodeVision(sizes, layer, prefix, find, params, input, context);
      if (classes) return { ...out, logits: siteLinear(context, find("classifier"), params, out.pooled) };
      return c.add_pooling_layer ? { ...out, pooled: pooling(siteLinear(context, find("pooler.dense"), params, out.pooled)) } : out;
    },
  };
}

function layerOf(c: Config): VisionLayer {
  const [n, inner, act] = [c.hidden_size, c.intermediate_size, activation(c.hidden_act)];
  return {
    attentionNorm: ".layernorm_before",
    mlpNorm: ".layernorm_after",
    mlp: (x, { linear, dropped }) => dropped(".output.dense", act(linear(".intermediate.dense", x))),
    declareMlp: (d, p, layer) => {
      d.linear(`${p}.intermediate.dense`, { role: "in", layer, in: n, out: inner });
      d.linear(`${p}.output.dense`, { role: "out", layer, in: inner, out: n });
    },
  };
}
