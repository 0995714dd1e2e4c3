/** DINOv2 (arXiv 2304.07193): ViT with a learned scale for what a layer adds, SwiGLU by option, and images of any size. Names as in the HF checkpoint. */
import {
  concat,
  type Dim,
  LfmError,
  type Model,
  type ModelInfo,
  mul,
  reshape,
  resize2d,
  silu,
  slice,
  split,
  type Tensor,
  transpose,
  type Weights,
} from "@lfm/core";
import { z } from "zod";
import { activation, activationName } from "./activations.js";
import { classCount } from "./bert.js";
import { classificationHead } from "./classification-heads.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, only, parseConfig, type UncheckedConfig } from "./parse-config.js";
import { declareVision, encodeVision, patchesOfSide, type VisionLayer, type VisionSizes, visionSizes } from "./vision-encoder.js";

export const dinov2ConfigSchema = z.looseObject({
  model_type: z.literal("dinov2").default("dinov2"),
  ...commonFields,
  hidden_size: z.number().int().positive().default(768),
  num_hidden_layers: z.number().int().positive().default(12),
  num_attention_heads: z.number().int().positive().default(12),
  mlp_ratio: z.number().positive().default(4),
  hidden_act: activationName.default("gelu"),
  hidden_dropout_prob: dropoutRate(0),
  attention_probs_dropout_prob: dropoutRate(0),
  layer_norm_eps: z.number().positive().default(1e-6),
  image_size: z.number().int().positive().default(224),
  patch_size: z.number().int().positive().default(14),
  num_channels: z.number().int().positive().default(3),
  qkv_bias: z.boolean().default(true),
  drop_path_rate: only(0),
  use_swiglu_ffn: z.boolean().default(false),
  use_mask_token: z.boolean().default(true),
  // How scales begin; what a detector would read.
  ...neutral("layerscale_value", "out_features", "out_indices", "stage_names", "apply_layernorm", "reshape_hidden_states"),
});
export type Dinov2Config = z.input<typeof dinov2ConfigSchema>;
type Config = z.output<typeof dinov2ConfigSchema>;

/**
 * An encoder (`Dinov2Model`, names without a prefix, `pooled` the class token after the last norm), or a classifier on the class token and the mean
 * of the patches where `architectures` names `Dinov2ForImageClassification` (names under `dinov2.`).
 * @throws {LfmError} CONFIG_INVALID for a config that is none of DINOv2
 */
export const dinov2: Build<Dinov2Config> = dinov2FromConfig;

/** The same from a config that nothing is known of yet. */
export function dinov2FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("dinov2", dinov2ConfigSchema, config);
  const classes = c.architectures?.[0]?.endsWith("ForImageClassification") ? classCount(c) : undefined;
  const prefix = classes ? "dinov2." : "";
  const head = classificationHead("dinov2");
  const [sizes, layer] = [visionSizes("dinov2", c), layerOf(c)];
  const d = new Declarations();
  // Of pre-training: nothing reads it, and checkpoints have it.
  const maskToken = (): void => d.param(`${prefix}embeddings.mask_token`, [1, c.hidden_size], false);
  declareVision(d, sizes, layer, prefix, c.use_mask_token ? maskToken : undefined);
  if (classes) head.declare(d, c.hidden_size, classes);
  const find = d.byPath();
  const info: ModelInfo = {
    architecture: "dinov2",
    task: classes ? "classifier" : "encoder",
    input: "pixels",
    config: c,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    ...(classes ? { classes } : {}),
    params: d.params,
    sites: d.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      const place = (table: Tensor, height: Dim, width: Dim): Tensor => positions(sizes, table, height, width);
      const out = encodeVision(sizes, layer, prefix, find, params, input, context, place);
      return classes ? { ...out, logits: head.logits(context, find, params, head.features(out), (x) => x) } : out;
    },
  };
}

const SCALES = { attention: "layer_scale1.lambda1", mlp: "layer_scale2.lambda1" } as const;

function layerOf(c: Config): VisionLayer {
  const [n, inner, act] = [c.hidden_size, innerWidth(c), activation(c.hidden_act)];
  return {
    attentionNorm: ".norm1",
    mlpNorm: ".norm2",
    mlp: (x, { linear }) => {
      if (!c.use_swiglu_ffn) return linear(".mlp.fc2", act(linear(".mlp.fc1", x)));
      const [gate, up] = split(linear(".mlp.weights_in", x), 2, [inner, inner]);
      return linear(".mlp.weights_out", mul(silu(gate!), up!));
    },
    added: (part, y, { get }) => mul(y, get(`.${SCALES[part]}`)),
    declareMlp: (d, p, layer) => {
      if (!c.use_swiglu_ffn) {
        d.linear(`${p}.mlp.fc1`, { role: "in", layer, in: n, out: inner });
        d.linear(`${p}.mlp.fc2`, { role: "out", layer, in: inner, out: n });
        return;
      }
      const parts = [
        { role: "gate", size: inner },
        { role: "in", size: inner },
      ] as const;
      d.linear(`${p}.mlp.weights_in`, { role: "gate-in", layer, in: n, out: 2 * inner, parts });
      d.linear(`${p}.mlp.weights_out`, { role: "out", layer, in: inner, out: n });
    },
    declareAdded: (d, p, part) => d.param(`${p}.${SCALES[part]}`, [n]),
  };
}

/** Width inside of SwiGLU: two thirds, up to a multiple of 8. */
function innerWidth(c: Config): number {
  const plain = Math.floor(c.hidden_size * c.mlp_ratio);
  return c.use_swiglu_ffn ? Math.ceil(Math.floor((plain * 2) / 3) / 8) * 8 : plain;
}

/** f32[1, 1 + patches, hidden]: the table, its patches resized where the image has another number of them. */
function positions(sizes: VisionSizes, table: Tensor, height: Dim, width: Dim): Tensor {
  const n = patchesOfSide(sizes);
  if (height === n && width === n) return table;
  if (typeof height !== "number" || typeof width !== "number")
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] dinov2 needs images whose height and width are known when it is compiled");
  const square = reshape(transpose(slice(table, 1, 1, n * n), [0, 2, 1]), [1, sizes.width, n, n]);
  const resized = reshape(resize2d(square, [height, width], "bicubic"), [1, sizes.width, height * width]);
  return concat([slice(table, 1, 0, 1), transpose(resized, [0, 2, 1])], 1);
}
