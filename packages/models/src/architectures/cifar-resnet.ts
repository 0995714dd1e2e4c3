/** ResNet for pictures of 32×32 (arXiv 1512.03385, section 4.2): 6n + 2 layers, shortcuts without parameters. Names as in akamaster's release. */
import { add, constant, gather, i32, LfmError, type Model, type ModelInfo, mean, pad, relu, type Tensor, type Weights } from "@lfm/core";
import { z } from "zod";
import { siteAround, siteConv, siteLinear, siteNorm } from "../sites.js";
import { batchNorm, torchBatchNorm } from "./batch-norm.js";
import { classCount } from "./bert.js";
import { Declarations } from "./declarations.js";
import { type Build, commonFields, parseConfig, type UncheckedConfig } from "./parse-config.js";

const cifarResnetConfigSchema = z.looseObject({
  model_type: z.literal("cifar_resnet").default("cifar_resnet"),
  ...commonFields,
  depth: z
    .number()
    .int()
    .refine((n) => n >= 8 && (n - 2) % 6 === 0, "is not 6n + 2"),
  widths: z.tuple([z.number().int().positive(), z.number().int().positive(), z.number().int().positive()]).default([16, 32, 64]),
  num_channels: z.number().int().positive().default(3),
  image_size: z.number().int().positive().default(32),
  /** Option A of the paper: every second pixel, new channels are zeros. */
  shortcut: z.string().startsWith("A", "only option A is known").default("A"),
});
export type CifarResnetConfig = z.input<typeof cifarResnetConfigSchema>;

interface Layer {
  readonly path: string;
  readonly in: number;
  readonly out: number;
  readonly stride: number;
}

/** A classifier of pictures; `pooled` is the mean over places. @throws {LfmError} CONFIG_INVALID */
export const cifarResnet: Build<CifarResnetConfig> = cifarResnetFromConfig;

/** The same from a config that nothing is known of yet. */
export function cifarResnetFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("cifar_resnet", cifarResnetConfigSchema, config);
  const classes = c.num_labels || c.id2label ? classCount(c) : 10;
  const layers = layersOf(c.depth, c.widths);
  const width = c.widths[2];
  const d = new Declarations();
  const convolution = (conv: string, norm: string, from: number, out: number, stride: number, layer?: number): void => {
    const at = layer === undefined ? {} : { layer };
    d.conv(conv, { ...at, in: from, out, kernel: 3, stride, padding: 1, bias: false });
    d.norm(norm, out, { ...at, bias: true, running: true });
  };
  convolution("conv1", "bn1", c.num_channels, c.widths[0], 1);
  for (const [i, l] of layers.entries()) {
    d.site(l.path, "block", i);
    convolution(`${l.path}.conv1`, `${l.path}.bn1`, l.in, l.out, l.stride, i);
    convolution(`${l.path}.conv2`, `${l.path}.bn2`, l.out, l.out, 1, i);
  }
  d.linear("linear", { kind: "head", role: "classifier", in: width, out: classes });
  const find = d.byPath();
  const info: ModelInfo = {
    architecture: "cifar_resnet",
    task: "classifier",
    input: "pixels",
    config: c,
    hiddenSize: width,
    layers: layers.length,
    classes,
    params: d.params,
    sites: d.sites,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      if (!input.pixels)
        throw new LfmError(
          "SHAPE_MISMATCH",
          "[@lfm/models] cifar_resnet reads pixels f32[batch, channels, height, width]; the input has none",
        );
      const buffers: Record<string, Tensor> = {};
      const convolve = (conv: string, norm: string, h: Tensor): Tensor =>
        siteNorm(context, find(norm), siteConv(context, find(conv), params, h), (v) =>
          batchNorm(v, norm, params, torchBatchNorm, context.mode, buffers),
        );
      let x = relu(convolve("conv1", "bn1", input.pixels));
      const hidden: Tensor[] = [x];
      for (const l of layers) {
        x = siteAround(context, find(l.path), x, (h0) => {
          const h = relu(convolve(`${l.path}.conv1`, `${l.path}.bn1`, h0));
          return relu(add(convolve(`${l.path}.conv2`, `${l.path}.bn2`, h), shortcut(h0, l)));
        });
        hidden.push(x);
      }
      const pooled = mean(x, [2, 3]);
      return {
        pooled,
        logits: siteLinear(context, find("linear"), params, pooled),
        buffers,
        ...(context.want?.hidden ? { hidden } : {}),
      };
    },
  };
}

function shortcut(x: Tensor, { in: from, out, stride }: Layer): Tensor {
  if (stride === 1 && from === out) return x;
  const every = (t: Tensor, axis: 2 | 3): Tensor => {
    const places = Array.from({ length: Math.ceil((t.dim(axis) as number) / stride) }, (_, i) => i * stride);
    return gather(t, constant(i32(places)), axis, { distinct: true });
  };
  const before = Math.floor((out - from) / 2);
  return pad(every(every(x, 2), 3), 1, before, out - from - before);
}

function layersOf(depth: number, widths: readonly [number, number, number]): readonly Layer[] {
  const n = (depth - 2) / 6;
  return widths.flatMap((out, stage) =>
    Array.from({ length: n }, (_, i) => ({
      path: `layer${stage + 1}.${i}`,
      in: i > 0 || stage === 0 ? out : widths[stage - 1]!,
      out,
      stride: i === 0 && stage > 0 ? 2 : 1,
    })),
  );
}
