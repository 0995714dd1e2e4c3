/**
 * Bottleneck adapters: h + s·(U·φ(D·x + b) + c) behind parts of each block, near zero at the start. Houlsby (arXiv 1902.00751): behind attention and
 * behind the MLP, x is what the part gives. Pfeiffer (arXiv 2005.00247): behind the MLP, x is the block's sum behind its norm. Parallel (arXiv
 * 2110.04366): beside the MLP, x is what the MLP's result is added to. D — f32[width, hidden], U — f32[hidden, width].
 */
import { linear, type ParamTree, type Rng, type Site, sizeOf } from "@lfm/core";
import { z } from "zod";
import { adapterTensor, bottleneckFields, bottleneckHook, startAdapters } from "../bottleneck-sites.js";
import { defineTuning } from "../define-tuning.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  ...bottleneckFields,
  initWeights: z
    .enum(["bert", "houlsby", "mam"])
    .default("bert")
    .describe("D and U at the start: N(0, .02); N(0, .01) within two deviations; or D uniform within 1/√hidden and U 0"),
  ...trainingFields(3e-3),
});
type Config = z.output<typeof config>;

const has = (t: ParamTree) => (site: Site) => adapterTensor(site, "down.weight") in t;

export const bottleneck = defineTuning({
  id: "bottleneck",
  summary: "Small two-layer networks inside each block learn; the base stays frozen.",
  paper: { title: "Parameter-Efficient Transfer Learning for NLP", arxiv: "1902.00751", year: 2019, survey: "3.1 weight engineering" },
  config,
  presets: {
    houlsby: { summary: "behind attention and MLP, swish", config: { places: ["attention", "mlp"], activation: "swish", reads: "part" } },
    pfeiffer: {
      summary: "behind the MLP and its norm only, relu (arXiv 2005.00247)",
      config: { places: ["mlp"], activation: "relu", reads: "sum" },
    },
    parallel: {
      summary: "beside the MLP, relu, answers four times as large (arXiv 2110.04366)",
      config: { places: ["mlp"], activation: "relu", reads: "stream", reductionFactor: 2, scaling: 4, initWeights: "mam" },
    },
    "scaled-parallel": {
      summary: "the same with a learned scale",
      config: { places: ["mlp"], activation: "relu", reads: "stream", reductionFactor: 2, learnedScaling: "scalar", initWeights: "mam" },
    },
    "adapter-plus": {
      summary: "behind the MLP's sum, gelu, a learned scale for each channel; pre-norm models (arXiv 2406.06820)",
      config: {
        places: ["mlp"],
        activation: "gelu",
        reads: "sum",
        residual: "normed",
        blockResidual: false,
        reductionFactor: 96,
        learnedScaling: "channel",
        initWeights: "houlsby",
      },
    },
  },
  delta: {
    hooks: (c, t) => {
      const layer = (name: "down" | "up") => (x: Parameters<typeof linear>[0], site: Site) =>
        linear(x, t[adapterTensor(site, `${name}.weight`)]!, t[adapterTensor(site, `${name}.bias`)]!);
      return [bottleneckHook(c, t, has(t), { down: layer("down"), up: layer("up") })];
    },
  },
  training: (c) => c,
  start: ({ model }, c, { rng }) => ({ learned: startAdapters(model, c, rng, (own, name, shape) => drawn(own, name, shape, c)) }),
});

/** @param shape f32[outputs, inputs] of a weight */
function drawn(rng: Rng, name: string, shape: readonly number[], { initWeights }: Config): Float32Array {
  const size = sizeOf(shape);
  switch (initWeights) {
    case "bert":
      return rng.normalArray(size, 0.02);
    case "mam": {
      const bound = name.startsWith("up.") ? 0 : 1 / Math.sqrt(shape[1]!);
      return rng.uniformArray(size, -bound, bound);
    }
    case "houlsby":
      return withinTwoDeviations(rng, size, 0.01);
  }
}

function withinTwoDeviations(rng: Rng, size: number, std: number): Float32Array {
  const values = rng.normalArray(size, std);
  for (let i = 0; i < size; i++) while (Math.abs(values[i]!) > 2 * std) values[i] = std * rng.normal();
  return values;
}
