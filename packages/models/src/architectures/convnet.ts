/** [conv 3×3, batch norm, relu, max pool 2×2] × N, flatten, fc: the conv-4 of few-shot learning and the teacher of data-free distillation. */
import { LfmError, type Model, type ModelInfo, maxPool2d, relu, reshape, type Tensor, type Weights } from "@lfm/core";
import { z } from "zod";
import { siteConv, siteLinear, siteNorm } from "../sites.js";
import { batchNorm } from "./batch-norm.js";
import { Declarations } from "./declarations.js";
import { type Build, parseConfig, type UncheckedConfig } from "./parse-config.js";

const convnetConfigSchema = z.object({
  model_type: z.literal("convnet").default("convnet"),
  channels: z.number().int().positive().default(1).describe("channels of an image"),
  image_size: z.number().int().positive().describe("height and width, pixels"),
  widths: z.array(z.number().int().positive()).min(1).describe("channels of each block; every block halves the image"),
  classes: z.number().int().positive().optional().describe("outputs of the last layer; without it the model ends in the flat features"),
  momentum: z.number().min(0).max(1).default(0.1).describe("share of the batch in new running statistics"),
  epsilon: z.number().positive().default(1e-5),
});
export type ConvnetConfig = z.input<typeof convnetConfigSchema>;

export const convnet: Build<ConvnetConfig> = convnetFromConfig;

/** The same from a config that nothing is known of yet. */
export function convnetFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("convnet", convnetConfigSchema, config);
  const info = describe(c);
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      if (!input.pixels)
        throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] convnet reads pixels f32[batch, channels, height, width]; the input has none");
      let x: Tensor = input.pixels;
      const buffers: Record<string, Tensor> = {};
      for (let i = 0; i < c.widths.length; i++) {
        const [conv, norm] = [info.sites[2 * i]!, info.sites[2 * i + 1]!];
        x = siteConv(context, conv, params, x);
        x = maxPool2d(relu(siteNorm(context, norm, x, (h) => batchNorm(h, norm.path, params, c, context.mode, buffers))), 2);
      }
      const pooled = reshape(x, [x.dim(0), info.hiddenSize]);
      const head = info.sites.find((s) => s.kind === "head");
      return { pooled, ...(head ? { logits: siteLinear(context, head, params, pooled) } : {}), buffers };
    },
  };
}

function describe(c: z.output<typeof convnetConfigSchema>): ModelInfo {
  const d = new Declarations();
  let size = c.image_size;
  c.widths.forEach((width, i) => {
    const inner = i === 0 ? c.channels : c.widths[i - 1]!;
    d.conv(`features.${i}.conv`, { layer: i, in: inner, out: width, kernel: 3, padding: 1 });
    d.norm(`features.${i}.norm`, width, { bias: true, running: true, layer: i });
    size = Math.floor(size / 2);
  });
  const flat = c.widths.at(-1)! * size * size;
  if (flat === 0)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] convnet: ${c.widths.length} halvings leave nothing of ${c.image_size} pixels`);
  if (c.classes) d.linear("classifier", { kind: "head", role: "classifier", in: flat, out: c.classes });
  return {
    architecture: "convnet",
    task: "classifier",
    input: "pixels",
    config: c,
    hiddenSize: flat,
    layers: c.widths.length,
    ...(c.classes ? { classes: c.classes } : {}),
    params: d.params,
    sites: d.sites,
  };
}
