/** ResNet (arXiv 1512.03385, transformers' ResNetForImageClassification): a stem, stages of basic or bottleneck layers, mean over places, linear. */
import { add, LfmError, type Model, type ModelInfo, maxPool2d, mean, relu, type Tensor, type Weights } from "@lfm/core";
import { z } from "zod";
import { siteAround, siteConv, siteNorm } from "../sites.js";
import { activation, activationName } from "./activations.js";
import { batchNorm, torchBatchNorm } from "./batch-norm.js";
import { classCount } from "./bert.js";
import { classificationHead } from "./classification-heads.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, neutral, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const resnetConfigSchema = z.looseObject({
  model_type: z.literal("resnet").default("resnet"),
  ...commonFields,
  num_channels: z.number().int().positive().default(3),
  embedding_size: z.number().int().positive().default(64),
  hidden_sizes: z.array(z.number().int().positive()).min(1).default([256, 512, 1024, 2048]),
  depths: z.array(z.number().int().positive()).min(1).default([3, 4, 6, 3]),
  layer_type: z.enum(["basic", "bottleneck"]).default("bottleneck"),
  hidden_act: activationName.default("relu"),
  downsample_in_first_stage: z.boolean().default(false),
  downsample_in_bottleneck: z.boolean().default(false),
  // Which stages a detector would read.
  ...neutral("out_features", "out_indices", "stage_names"),
});
export type ResnetConfig = z.input<typeof resnetConfigSchema>;
type Config = z.output<typeof resnetConfigSchema>;

/** A convolution without bias and its batch norm. */
interface Convolution {
  readonly path: string;
  readonly in: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
}

/** One residual layer: convolutions in order, the shortcut where sizes differ. */
interface Layer {
  readonly path: string;
  readonly stage: number;
  readonly convolutions: readonly Convolution[];
  readonly shortcut?: Convolution;
}

/**
 * An encoder (`ResNetModel`, names without a prefix, `pooled` the mean over places), or a classifier on it where `architectures` names
 * `ResNetForImageClassification` (names under `resnet.`). `hidden` is the stem's output and those of the stages.
 * @throws {LfmError} CONFIG_INVALID for a config that is none of ResNet
 */
export const resnet: Build<ResnetConfig> = resnetFromConfig;

/** The same from a config that nothing is known of yet. */
export function resnetFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("resnet", resnetConfigSchema, config);
  if (c.depths.length !== c.hidden_sizes.length)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/models] resnet: depths has ${c.depths.length} stages, hidden_sizes ${c.hidden_sizes.length}`,
    );
  const classes = c.architectures?.[0]?.endsWith("ForImageClassification") ? classCount(c) : undefined;
  const prefix = classes ? "resnet." : "";
  const stem: Convolution = { path: `${prefix}embedder.embedder`, in: c.num_channels, out: c.embedding_size, kernel: 7, stride: 2 };
  const layers = layersOf(c, prefix);
  const width = c.hidden_sizes.at(-1)!;
  const head = classificationHead("resnet");
  const d = new Declarations();
  declareConvolution(d, stem);
  for (const [i, layer] of layers.entries()) {
    d.site(layer.path, "block", i);
    if (layer.shortcut) declareConvolution(d, layer.shortcut, i);
    for (const one of layer.convolutions) declareConvolution(d, one, i);
  }
  if (classes) head.declare(d, width, classes);
  const find = d.byPath();
  const info: ModelInfo = {
    architecture: "resnet",
    task: classes ? "classifier" : "encoder",
    input: "pixels",
    config: c,
    hiddenSize: width,
    layers: layers.length,
    ...(classes ? { classes } : {}),
    params: d.params,
    sites: d.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      if (!input.pixels)
        throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] resnet reads pixels f32[batch, channels, height, width]; the input has none");
      const buffers: Record<string, Tensor> = {};
      const act = activation(c.hidden_act);
      const convolve = (one: Convolution, h: Tensor): Tensor => {
        const [conv, norm] = [find(`${one.path}.convolution`), find(`${one.path}.normalization`)];
        return siteNorm(context, norm, siteConv(context, conv, params, h), (v) =>
          batchNorm(v, norm.path, params, torchBatchNorm, context.mode, buffers),
        );
      };
      let x = maxPool2d(act(convolve(stem, input.pixels)), 3, { stride: 2, padding: 1 });
      const hidden: Tensor[] = [x];
      for (const [i, layer] of layers.entries()) {
        x = siteAround(context, find(layer.path), x, (h0) => residual(layer, h0, convolve, act));
        if (layers[i + 1]?.stage !== layer.stage) hidden.push(x);
      }
      const pooled = mean(x, [2, 3]);
      return {
        pooled,
        buffers,
        ...(classes ? { logits: head.logits(context, find, params, pooled, (x) => x) } : {}),
        ...(context.want?.hidden ? { hidden } : {}),
      };
    },
  };
}

/** Convolutions with relu between them, whatever the config's activation is; it comes after the sum. */
function residual(layer: Layer, h0: Tensor, convolve: (one: Convolution, h: Tensor) => Tensor, act: (h: Tensor) => Tensor): Tensor {
  const last = layer.convolutions.length - 1;
  const h = layer.convolutions.reduce((x, one, i) => (i < last ? relu(convolve(one, x)) : convolve(one, x)), h0);
  return act(add(h, layer.shortcut ? convolve(layer.shortcut, h0) : h0));
}

function declareConvolution(d: Declarations, { path, in: from, out, kernel, stride }: Convolution, layer?: number): void {
  const at = layer === undefined ? {} : { layer };
  d.conv(`${path}.convolution`, { ...at, in: from, out, kernel, stride, padding: Math.floor(kernel / 2), bias: false });
  d.norm(`${path}.normalization`, out, { ...at, bias: true, running: true });
}

function layersOf(c: Config, prefix: string): readonly Layer[] {
  return c.depths.flatMap((depth, stage) =>
    Array.from({ length: depth }, (_, i): Layer => {
      const path = `${prefix}encoder.stages.${stage}.layers.${i}`;
      const out = c.hidden_sizes[stage]!;
      const from = i > 0 ? out : stage === 0 ? c.embedding_size : c.hidden_sizes[stage - 1]!;
      const stride = i === 0 && (stage > 0 || c.downsample_in_first_stage) ? 2 : 1;
      const part = (k: number): string => `${path}.layer.${k}`;
      const inner = Math.floor(out / 4);
      const convolutions: readonly Convolution[] =
        c.layer_type === "basic"
          ? [
              { path: part(0), in: from, out, kernel: 3, stride },
              { path: part(1), in: out, out, kernel: 3, stride: 1 },
            ]
          : [
              { path: part(0), in: from, out: inner, kernel: 1, stride: c.downsample_in_bottleneck ? stride : 1 },
              { path: part(1), in: inner, out: inner, kernel: 3, stride: c.downsample_in_bottleneck ? 1 : stride },
              { path: part(2), in: inner, out, kernel: 1, stride: 1 },
            ];
      const differs = from !== out || stride !== 1;
      return {
        path,
        stage,
        convolutions,
        ...(differs ? { shortcut: { path: `${path}.shortcut`, in: from, out, kernel: 1, stride } } : {}),
      };
    }),
  );
}
