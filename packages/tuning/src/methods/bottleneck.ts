/**
 * Bottleneck adapters: h + U·φ(D·h + b) + c inside each block, near-zero at the start.
 * Houlsby (arXiv 1902.00751): after attention and after the MLP. Pfeiffer (arXiv 2005.00247): after the MLP only.
 */
import { add, f32, type Hook, type HostTensor, linear, type ParamTree, relu, type Site, silu, zeros } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  reductionFactor: z.number().positive().default(16).describe("hidden size divided by the bottleneck's width"),
  places: z
    .array(z.enum(["attention", "mlp"]))
    .min(1)
    .default(["attention", "mlp"])
    .describe("after which part of a block an adapter stands"),
  activation: z.enum(["relu", "silu"]).default("silu").describe("φ; silu is the authors' swish"),
  initStd: z.number().positive().default(0.01).describe("standard deviation of D and U at the start"),
  ...trainingFields,
});

const named = (site: Site, part: string): string => `${site.path}.adapter.${part}`;

function adapterHooks(t: ParamTree, activation: "relu" | "silu"): readonly Hook[] {
  const phi = activation === "relu" ? relu : silu;
  return [
    {
      matches: (site) => named(site, "down.weight") in t,
      output: (h, _x, site) => {
        const low = phi(linear(h, t[named(site, "down.weight")]!, t[named(site, "down.bias")]!));
        return add(h, linear(low, t[named(site, "up.weight")]!, t[named(site, "up.bias")]!));
      },
    },
  ];
}

export const bottleneck = defineTuning({
  id: "bottleneck",
  summary: "Small two-layer networks inside each block learn; the base stays frozen.",
  paper: { title: "Parameter-Efficient Transfer Learning for NLP", arxiv: "1902.00751", year: 2019, survey: "3.1 weight engineering" },
  config,
  presets: {
    houlsby: { summary: "after attention and MLP, swish", config: { places: ["attention", "mlp"], activation: "silu" } },
    pfeiffer: { summary: "after the MLP only, relu (arXiv 2005.00247)", config: { places: ["mlp"], activation: "relu" } },
  },
  delta: { hooks: (c, tensors) => adapterHooks(tensors, c.activation) },
  training: (c) => c,
  start: ({ model }, c, context) => {
    const { hiddenSize, sites } = model.info;
    const width = Math.max(1, Math.round(hiddenSize / c.reductionFactor));
    const learned: Record<string, HostTensor> = {};
    for (const site of sites.filter((s) => (s.kind === "attention" || s.kind === "mlp") && c.places.includes(s.kind))) {
      const rng = context.rng.split(site.path);
      learned[named(site, "down.weight")] = f32(rng.normalArray(width * hiddenSize, c.initStd), [width, hiddenSize]);
      learned[named(site, "down.bias")] = zeros([width]);
      learned[named(site, "up.weight")] = f32(rng.normalArray(width * hiddenSize, c.initStd), [hiddenSize, width]);
      learned[named(site, "up.bias")] = zeros([hiddenSize]);
    }
    return { learned };
  },
});
