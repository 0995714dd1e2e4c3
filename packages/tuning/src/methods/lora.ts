/**
 * LoRA (arXiv 2106.09685): y = Wx + s·B(Ax), A r×in, B out×r, s = α/r (rsLoRA, arXiv 2312.03732: α/√r).
 * As PEFT: A ~ U(±1/√in) (kaiming-uniform with a = √5), B = 0, so a fresh adapter changes nothing; of an embedding A = 0 and B ~ N(0, 1). On a
 * convolution A has its kernel, and B is one of 1×1. PiSSA (arXiv 2404.02948) starts from the weight's largest singular values.
 * DoRA (arXiv 2402.09353) also learns the norm m of each output's weights: W' = m · (W + sBA) / ‖W + sBA‖.
 * LoRA+ (arXiv 2402.12354): B learns faster than A.
 */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { patternFields } from "../layer-ranks.js";
import { initialName, initLora, initMagnitudes, loraHooks, loraRanks, loraWeights } from "../lora-hooks.js";
import { loraPeft } from "../lora-peft.js";
import { halves, pissaTensors, plainLora } from "../pissa.js";
import { chosenSites, targetFields } from "../target-sites.js";
import { initTokenRows, tokenRowHooks, tokenRowWeights } from "../token-rows.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  r: z.number().int().positive().default(8).describe("rank r of the update"),
  loraAlpha: z.number().positive().default(8).describe("scale numerator α: the update is multiplied by α/r"),
  useRslora: z.boolean().default(false).describe("scale by α/√r instead of α/r"),
  useDora: z.boolean().default(false).describe("learn the norm of each output's weights apart from their direction (DoRA)"),
  initLoraWeights: z
    .enum(["default", "gaussian", "pissa"])
    .default("default")
    .describe("where A and B start: uniform and 0, normal and 0, or the weight's largest singular values (PiSSA)"),
  loraDropout: z.number().min(0).max(0.99).default(0).describe("dropout probability on the adapter's input"),
  loraplusLrRatio: z.number().positive().default(1).describe("learning rate of B and magnitudes by that of A (LoRA+)"),
  loraplusLrEmbedding: z.number().positive().default(1e-6).describe("learning rate of A and B of embeddings with loraplusLrRatio"),
  trainableTokenIndices: z
    .array(z.number().int().min(0))
    .default([])
    .describe(
      "rows of the table of tokens (and of an output layer that is this table) that learn beside the layers, e.g. those of new tokens",
    ),
  ...targetFields,
  targetModules: targetFields.targetModules.describe(
    "layers by path, dotted suffix or role (q, k, v, o, in, gate, out); the embedding of tokens and convolutions by their names",
  ),
  ...patternFields,
  ...trainingFields(1e-3),
});
export type LoraConfig = z.output<typeof config>;

export const lora = defineTuning({
  id: "lora",
  summary: "Learns a low-rank update of chosen linear layers, convolutions and embeddings; the base stays frozen.",
  paper: { title: "LoRA: Low-Rank Adaptation of Large Language Models", arxiv: "2106.09685", year: 2021, survey: "3.1 weight engineering" },
  config,
  presets: {
    rslora: { summary: "scale α/√r (arXiv 2312.03732)", config: { useRslora: true } },
    dora: { summary: "magnitudes and directions apart (DoRA, arXiv 2402.09353)", config: { useDora: true } },
    pissa: { summary: "from the weight's largest singular values (PiSSA, arXiv 2404.02948)", config: { initLoraWeights: "pissa" } },
    "lora-plus": { summary: "B learns 16 times as fast as A (LoRA+, arXiv 2402.12354)", config: { loraplusLrRatio: 16 } },
    qv: { summary: "queries and values only, as in the paper", config: { targetModules: ["q", "v"] } },
  },
  delta: {
    hooks: (c, tensors) => [...loraHooks(tensors, c), ...tokenRowHooks(tensors, c.trainableTokenIndices)],
    weights: (c, tensors) => [...loraWeights(tensors, c), ...tokenRowWeights(tensors, c.trainableTokenIndices)],
    frozen: (name) => name.endsWith(initialName("")),
  },
  peft: loraPeft,
  training: (c) => c,
  // As PEFT groups them: what has one dimension (magnitudes, a head's bias) learns as B does.
  rate: ({ loraplusLrRatio: ratio, loraplusLrEmbedding, lr }, name, shape) => {
    if (ratio === 1) return 1;
    if (name.includes(".lora_embedding_")) return loraplusLrEmbedding / lr;
    return name.includes(".lora_B.") || shape.length === 1 ? ratio : 1;
  },
  start: ({ model }, c, context) => {
    const sites = chosenSites(model, c, ["embeddings", "convolutions"]);
    const kernel = sites.find((site) => site.conv);
    if (c.useDora && kernel)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] "${kernel.path}" is a convolution, and DoRA has magnitudes for linear layers alone`,
        {
          hint: `leave it out: --exclude-modules ${kernel.path}`,
        },
      );
    const rng = context.rng.split("init");
    const rows = c.trainableTokenIndices.length > 0 ? initTokenRows(model, c.trainableTokenIndices, sites) : {};
    if (c.initLoraWeights === "pissa") {
      if (c.trainableTokenIndices.length > 0)
        throw new LfmError(
          "CONFIG_INVALID",
          "[@lfm/tuning] PiSSA writes what it learned as a LoRA of twice the rank: it trains no rows beside it",
        );
      if (c.useDora)
        throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] PiSSA takes off what it starts from, which DoRA would rescale", {
          hint: "take one of the two",
        });
      return pissaTensors(model, sites, c, { ...context, rng });
    }
    const learned = initLora(sites, loraRanks(c).rank, rng, c.initLoraWeights === "gaussian");
    return { learned: { ...learned, ...(c.useDora ? initMagnitudes(model, sites) : {}), ...rows } };
  },
  begin: (c, tensors) => (c.initLoraWeights === "pissa" ? halves(tensors) : tensors),
  finish: (learned, c, carried) =>
    c.initLoraWeights === "pissa" ? { ...plainLora(learned, carried, c), carried: {} } : { tensors: learned, carried },
});
