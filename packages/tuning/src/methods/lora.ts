/**
 * LoRA (arXiv 2106.09685): y = Wx + s·B(Ax), A r×in, B out×r, s = α/r (rsLoRA, arXiv 2312.03732: α/√r).
 * As PEFT: A ~ U(±1/√in) (kaiming-uniform with a = √5), B = 0, so a fresh adapter changes nothing; of an embedding A = 0 and B ~ N(0, 1).
 * DoRA (arXiv 2402.09353) also learns the norm m of each output's weights: W' = m · (W + sBA) / ‖W + sBA‖.
 */
import type { HostTensor } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { initLora, initMagnitudes, loraHooks, loraWeights } from "../lora-hooks.js";
import { loraPeft } from "../lora-peft.js";
import { targetSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  r: z.number().int().positive().default(8).describe("rank r of the update"),
  loraAlpha: z.number().positive().default(8).describe("scale numerator α: the update is multiplied by α/r"),
  useRslora: z.boolean().default(false).describe("scale by α/√r instead of α/r"),
  useDora: z.boolean().default(false).describe("learn the norm of each output's weights apart from their direction (DoRA)"),
  loraDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability on the adapter's input"),
  targetModules: z
    .array(z.string())
    .min(1)
    .default(["all-linear"])
    .describe("layers by path, dotted suffix or role (q, k, v, o, in, gate, out); the embedding of tokens by its name"),
  ...trainingFields,
});
export type LoraConfig = z.output<typeof config>;

export const lora = defineTuning({
  id: "lora",
  summary: "Learns a low-rank update of chosen linear layers and embeddings; the base stays frozen.",
  paper: { title: "LoRA: Low-Rank Adaptation of Large Language Models", arxiv: "2106.09685", year: 2021, survey: "3.1 weight engineering" },
  config,
  presets: {
    rslora: { summary: "scale α/√r (arXiv 2312.03732)", config: { useRslora: true } },
    dora: { summary: "magnitudes and directions apart (DoRA, arXiv 2402.09353)", config: { useDora: true } },
    qv: { summary: "queries and values only, as in the paper", config: { targetModules: ["q", "v"] } },
  },
  delta: { hooks: (c, tensors) => loraHooks(tensors, c), weights: (c, tensors) => loraWeights(tensors, c) },
  peft: loraPeft,
  training: (c) => c,
  start: ({ model }, c, { rng }) => {
    const sites = targetSites(model, c.targetModules, ["embeddings"]);
    const learned: Record<string, HostTensor> = initLora(sites, c.r, rng.split("init"));
    return { learned: c.useDora ? { ...learned, ...initMagnitudes(model, sites) } : learned };
  },
});
