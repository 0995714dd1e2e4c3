/** DINOv2 (arXiv 2304.07193): ViT with a learned scale for what a layer adds, SwiGLU by option, and images of any size. Names as in the HF checkpoint. */
import {
  add,
  broadcastTo,
  concat,
  type Dim,
  dropoutAt,
  type ForwardContext,
  full,
  LfmError,
  type Model,
  type ModelInfo,
  type ModelInput,
  mul,
  type Outputs,
  type ParamTree,
  reshape,
  resize2d,
  type Site,
  silu,
  slice,
  split,
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
import { classificationHead } from "./classification-heads.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, dropoutRate, neutral, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

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
  const d = declare(c, prefix);
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
      const out = encode(c, prefix, find, params, input, context);
      return classes ? { ...out, logits: head.logits(context, find, params, head.features(out), (x) => x) } : out;
    },
  };
}

/** Side of the image in patches, as the table of positions has it. */
function side(c: Config): number {
  return Math.floor(c.image_size / c.patch_size);
}

/** Width inside of SwiGLU: two thirds, up to a multiple of 8. */
function innerWidth(c: Config): number {
  const plain = Math.floor(c.hidden_size * c.mlp_ratio);
  return c.use_swiglu_ffn ? Math.ceil(Math.floor((plain * 2) / 3) / 8) * 8 : plain;
}

function encode(
  c: Config,
  prefix: string,
  find: (path: string) => Site,
  params: ParamTree,
  input: ModelInput,
  context: ForwardContext,
): Outputs & { readonly last: Tensor } {
  const site = (path: string): Site => find(`${prefix}${path}`);
  const get = (name: string): Tensor => param(params, `${prefix}${name}`);
  if (!input.pixels)
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] dinov2 reads pixels f32[batch, channels, height, width]; the input has none");
  const act = activation(c.hidden_act);
  const batch = input.pixels.dim(0);
  const projection = site("embeddings.patch_embeddings.projection");
  const grid = siteConv(context, projection, params, input.pixels);
  const [height, width] = [grid.dim(2), grid.dim(3)];
  const patches = transpose(reshape(grid, [batch, c.hidden_size, -1]), [0, 2, 1]);
  const front = broadcastTo(get("embeddings.cls_token"), [batch, 1, c.hidden_size]);
  const placed = add(concat([front, patches], 1), positions(c, get("embeddings.position_embeddings"), height, width));
  let x = dropoutAt(placed, c.hidden_dropout_prob, context, projection.path);
  const mask = full([batch, x.dim(1)], 1);
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = (name: string): Site => site(`encoder.layer.${i}${name}`);
    const scaled = (name: string, h: Tensor): Tensor => mul(h, get(`encoder.layer.${i}.${name}.lambda1`));
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (name: string, h: Tensor): Tensor => siteLinear(context, at(name), params, h);
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
        const o = at(".attention.output.dense");
        return dropoutAt(linear(".attention.output.dense", attended.mixed), c.hidden_dropout_prob, context, o.path);
      };
      const mlp = (h: Tensor): Tensor => {
        if (!c.use_swiglu_ffn) return linear(".mlp.fc2", act(linear(".mlp.fc1", h)));
        const inner = innerWidth(c);
        const [gate, up] = split(linear(".mlp.weights_in", h), 2, [inner, inner]);
        return linear(".mlp.weights_out", mul(silu(gate!), up!));
      };
      const h1 = add(h0, scaled("layer_scale1", siteAround(context, at(".attention"), norm(".norm1", h0), attention)));
      return add(h1, scaled("layer_scale2", siteAround(context, at(".mlp"), norm(".norm2", h1), mlp)));
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

/** f32[1, 1 + patches, hidden]: the table, its patches resized where the image has another number of them. */
function positions(c: Config, table: Tensor, height: Dim, width: Dim): Tensor {
  const n = side(c);
  if (height === n && width === n) return table;
  if (typeof height !== "number" || typeof width !== "number")
    throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] dinov2 needs images whose height and width are known when it is compiled");
  const square = reshape(transpose(slice(table, 1, 1, n * n), [0, 2, 1]), [1, c.hidden_size, n, n]);
  const resized = reshape(resize2d(square, [height, width], "bicubic"), [1, c.hidden_size, height * width]);
  return concat([slice(table, 1, 0, 1), transpose(resized, [0, 2, 1])], 1);
}

function declare(c: Config, prefix: string): Declarations {
  const d = new Declarations();
  const n = c.hidden_size;
  const inner = innerWidth(c);
  const attention = { heads: c.num_attention_heads, kvHeads: c.num_attention_heads, headDim: n / c.num_attention_heads };
  d.param(`${prefix}embeddings.cls_token`, [1, 1, n]);
  // Of pre-training: nothing reads it, and checkpoints have it.
  if (c.use_mask_token) d.param(`${prefix}embeddings.mask_token`, [1, n], false);
  d.param(`${prefix}embeddings.position_embeddings`, [1, side(c) ** 2 + 1, n]);
  d.conv(`${prefix}embeddings.patch_embeddings.projection`, { in: c.num_channels, out: n, kernel: c.patch_size, stride: c.patch_size });
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const p = `${prefix}encoder.layer.${layer}`;
    d.site(p, "block", layer);
    d.norm(`${p}.norm1`, n, { bias: true, layer });
    d.site(`${p}.attention`, "attention", layer, attention);
    for (const [name, role] of [
      ["query", "q"],
      ["key", "k"],
      ["value", "v"],
    ] as const)
      d.linear(`${p}.attention.attention.${name}`, { role, layer, in: n, out: n, bias: c.qkv_bias });
    d.site(`${p}.attention.attention.kv`, "kv", layer, attention);
    d.site(`${p}.attention.attention.scores`, "scores", layer, attention);
    d.linear(`${p}.attention.output.dense`, { role: "o", layer, in: n, out: n });
    d.param(`${p}.layer_scale1.lambda1`, [n]);
    d.norm(`${p}.norm2`, n, { bias: true, layer });
    d.site(`${p}.mlp`, "mlp", layer);
    if (c.use_swiglu_ffn) {
      const parts = [
        { role: "gate", size: inner },
        { role: "in", size: inner },
      ] as const;
      d.linear(`${p}.mlp.weights_in`, { role: "gate-in", layer, in: n, out: 2 * inner, parts });
      d.linear(`${p}.mlp.weights_out`, { role: "out", layer, in: inner, out: n });
    } else {
      d.linear(`${p}.mlp.fc1`, { role: "in", layer, in: n, out: inner });
      d.linear(`${p}.mlp.fc2`, { role: "out", layer, in: inner, out: n });
    }
    d.param(`${p}.layer_scale2.lambda1`, [n]);
  }
  d.norm(`${prefix}layernorm`, n, { bias: true });
  return d;
}
