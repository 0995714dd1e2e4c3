/** The encoder of ViT and its kin: patches behind a class token, pre-norm layers; what a layer is made of and how positions are placed is theirs. */
import {
  add,
  broadcastTo,
  concat,
  type Dim,
  dropoutAt,
  expandDims,
  type ForwardContext,
  full,
  hookSequence,
  iota,
  LfmError,
  type ModelInput,
  type Outputs,
  type ParamTree,
  reshape,
  type Site,
  slice,
  squeeze,
  type Tensor,
  transpose,
} from "@lfm/core";
import { attend } from "../attention.js";
import { param, siteAround, siteConv, siteLayerNorm, siteLinear, siteResidual, wanted } from "../sites.js";
import type { Declarations } from "./declarations.js";

export interface VisionSizes {
  readonly architecture: string;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Side of the images that the table of positions is for, in pixels. */
  readonly image: number;
  readonly patch: number;
  readonly channels: number;
  readonly qkvBias: boolean;
  readonly epsilon: number;
  readonly dropout: number;
  readonly attentionDropout: number;
}

/** Fields of transformers' configurations that say the sizes, the same in all of them. */
interface VisionConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly image_size: number;
  readonly patch_size: number;
  readonly num_channels: number;
  readonly qkv_bias: boolean;
  readonly layer_norm_eps: number;
  readonly hidden_dropout_prob: number;
  readonly attention_probs_dropout_prob: number;
}

export function visionSizes(architecture: string, c: VisionConfig): VisionSizes {
  return {
    architecture,
    width: c.hidden_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    image: c.image_size,
    patch: c.patch_size,
    channels: c.num_channels,
    qkvBias: c.qkv_bias,
    epsilon: c.layer_norm_eps,
    dropout: c.hidden_dropout_prob,
    attentionDropout: c.attention_probs_dropout_prob,
  };
}

/** What a layer reads its own weights by. */
interface LayerAccess {
  /** A linear layer, by its path behind the layer's. */
  linear(path: string, x: Tensor): Tensor;
  /** The same, and what the model drops out of it. */
  dropped(path: string, x: Tensor): Tensor;
  /** A parameter, by its name behind the layer's. */
  get(name: string): Tensor;
}

/** In what architectures differ. Paths stand behind that of the layer. */
export interface VisionLayer {
  readonly attentionNorm: string;
  readonly mlpNorm: string;
  mlp(x: Tensor, layer: LayerAccess): Tensor;
  /** What is added to the stream of what a part gives. Default: all of it. */
  added?(part: "attention" | "mlp", y: Tensor, layer: LayerAccess): Tensor;
  /** Declares what `mlp` reads. */
  declareMlp(d: Declarations, path: string, layer: number): void;
  /** Declares what `added` reads. */
  declareAdded?(d: Declarations, path: string, part: "attention" | "mlp"): void;
}

/** Side of the image in patches, as the table of positions has it. */
export function patchesOfSide({ image, patch }: VisionSizes): number {
  return Math.floor(image / patch);
}

/**
 * `last` f32[batch, prefix + 1 + patches, width] after the last norm, `pooled` its class token. Sequence hooks of the patches' projection put vectors
 * in front of the placed patches; hooks of a block may lengthen what it reads, as long as they cut what it gives.
 * @param positions f32[1, 1 + patches, width] of the table, for a grid of so many patches
 * @throws {LfmError} SHAPE_MISMATCH for an input without pixels
 */
export function encodeVision(
  sizes: VisionSizes,
  layer: VisionLayer,
  prefix: string,
  find: (path: string) => Site,
  params: ParamTree,
  input: ModelInput,
  context: ForwardContext,
  positions: (table: Tensor, height: Dim, width: Dim) => Tensor = (table) => table,
): Outputs & { readonly last: Tensor; readonly pooled: Tensor } {
  const site = (path: string): Site => find(`${prefix}${path}`);
  const get = (name: string): Tensor => param(params, `${prefix}${name}`);
  if (!input.pixels)
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/models] ${sizes.architecture} reads pixels f32[batch, channels, height, width]; the input has none`,
    );
  const batch = input.pixels.dim(0);
  const projection = site("embeddings.patch_embeddings.projection");
  const grid = siteConv(context, projection, params, input.pixels);
  const patches = transpose(reshape(grid, [batch, sizes.width, -1]), [0, 2, 1]);
  const front = broadcastTo(get("embeddings.cls_token"), [batch, 1, sizes.width]);
  const placed = add(concat([front, patches], 1), positions(get("embeddings.position_embeddings"), grid.dim(2), grid.dim(3)));
  const seen = dropoutAt(placed, sizes.dropout, context, projection.path);
  const length = seen.dim(1);
  const sequence = hookSequence(
    {
      embeddings: seen,
      mask: full([batch, length], 1),
      positions: broadcastTo(expandDims(iota(length), 0), [batch, length]),
      prefix: 0,
    },
    projection,
    context,
  );
  let x = sequence.embeddings;
  const hidden: Tensor[] = [x];
  const attentions: Tensor[] = [];
  for (let i = 0; i < sizes.layers; i++) {
    const at = (path: string): Site => site(`encoder.layer.${i}${path}`);
    x = siteAround(context, at(""), x, (h0, context) => {
      const linear = (path: string, h: Tensor): Tensor => siteLinear(context, at(path), params, h);
      const dropped = (path: string, h: Tensor): Tensor => dropoutAt(linear(path, h), sizes.dropout, context, at(path).path);
      const norm = (path: string, h: Tensor): Tensor => siteLayerNorm(context, at(path), params, h, sizes.epsilon);
      const access: LayerAccess = { linear, dropped, get: (name) => get(`encoder.layer.${i}${name}`) };
      const added = (part: "attention" | "mlp", y: Tensor): Tensor => layer.added?.(part, y, access) ?? y;
      const attention = (h: Tensor): Tensor => {
        const part = (name: string): Tensor => linear(`.attention.attention.${name}`, h);
        const sites = { kv: at(".attention.attention.kv"), scores: at(".attention.attention.scores") };
        const attended = attend(context, sites, part("query"), part("key"), part("value"), {
          heads: sizes.heads,
          mask: full([batch, h.dim(1)], 1),
          causal: false,
          dropout: sizes.attentionDropout,
        });
        attentions.push(attended.weights);
        return dropped(".attention.output.dense", attended.mixed);
      };
      const mlp = (h: Tensor): Tensor => layer.mlp(h, access);
      const attended = added("attention", siteAround(context, at(".attention"), norm(layer.attentionNorm, h0), attention));
      const h1 = siteResidual(context, at(".attention.residual"), h0, attended);
      const inner = added("mlp", siteAround(context, at(".mlp"), norm(layer.mlpNorm, h1), mlp));
      return siteResidual(context, at(".mlp.residual"), h1, inner);
    });
    hidden.push(x);
  }
  const last = siteLayerNorm(context, site("layernorm"), params, x, sizes.epsilon);
  return {
    last,
    pooled: squeeze(slice(last, 1, sequence.prefix, 1), 1),
    prefix: sequence.prefix,
    ...wanted(context, { hidden, attentions }),
  };
}

/** @param tables declares what stands between the class token and the table of positions */
export function declareVision(
  d: Declarations,
  sizes: VisionSizes,
  layer: VisionLayer,
  prefix: string,
  tables: () => void = () => {},
): void {
  const { width: n, heads, patch } = sizes;
  const attention = { heads, kvHeads: heads, headDim: n / heads };
  d.param(`${prefix}embeddings.cls_token`, [1, 1, n]);
  tables();
  d.param(`${prefix}embeddings.position_embeddings`, [1, patchesOfSide(sizes) ** 2 + 1, n]);
  d.conv(`${prefix}embeddings.patch_embeddings.projection`, { in: sizes.channels, out: n, kernel: patch, stride: patch });
  for (let i = 0; i < sizes.layers; i++) {
    const p = `${prefix}encoder.layer.${i}`;
    d.site(p, "block", i);
    d.norm(`${p}${layer.attentionNorm}`, n, { bias: true, layer: i });
    d.site(`${p}.attention`, "attention", i, attention);
    for (const [name, role] of [
      ["query", "q"],
      ["key", "k"],
      ["value", "v"],
    ] as const)
      d.linear(`${p}.attention.attention.${name}`, { role, layer: i, in: n, out: n, bias: sizes.qkvBias });
    d.site(`${p}.attention.attention.kv`, "kv", i, attention);
    d.site(`${p}.attention.attention.scores`, "scores", i, attention);
    d.linear(`${p}.attention.output.dense`, { role: "o", layer: i, in: n, out: n });
    layer.declareAdded?.(d, p, "attention");
    d.residual(`${p}.attention`, "attention", i);
    d.norm(`${p}${layer.mlpNorm}`, n, { bias: true, layer: i });
    d.site(`${p}.mlp`, "mlp", i);
    layer.declareMlp(d, p, i);
    layer.declareAdded?.(d, p, "mlp");
    d.residual(`${p}.mlp`, "mlp", i);
  }
  d.norm(`${prefix}layernorm`, n, { bias: true });
}
