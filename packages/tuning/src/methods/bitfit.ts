/**
 * BitFit (arXiv 2106.10199): biases learn, and the head of a classifier in full; weights stay. The paper's smaller form takes the biases of queries
 * and of the MLP's first layer alone.
 */
import { LfmError, type Model, trainableParams } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { headTensors, replacedWithHead } from "../head.js";
import { targetSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  targetModules: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("linear layers whose biases learn, by path, dotted suffix or role; default: every bias, those of norms too"),
  trainHead: z.boolean().default(true).describe("a classifier's output layer learns in full, as in the paper"),
  ...trainingFields(1e-3),
});

/** @throws {LfmError} CAPABILITY_MISSING for a model without biases */
function biasNames(model: Model, { targetModules }: z.output<typeof config>): readonly string[] {
  const { sites, params, architecture } = model.info;
  // What stands behind the encoder is part of the head.
  const inside = sites.filter((site) => site.kind !== "head" && site.kind !== "pooler");
  const found = (targetModules ? targetSites(model, targetModules) : inside).flatMap((site) => site.params?.bias ?? []);
  const names = [...new Set(found)].filter((name) => params[name]?.trainable);
  if (names.length === 0)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/tuning] bitfit: ${targetModules ? `"${targetModules.join(", ")}"` : architecture} has no biases that could learn`,
      { hint: "lfm tune ln-tuning learns the weights of the norms, which every model has" },
    );
  return names;
}

export const bitfit = defineTuning({
  id: "bitfit",
  summary: "Learns the biases; the weights stay frozen.",
  paper: {
    title: "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models",
    arxiv: "2106.10199",
    year: 2021,
    survey: "3.1 weight engineering",
  },
  config,
  presets: { qm: { summary: "biases of queries and of the MLP's first layer alone", config: { targetModules: ["q", "in"] } } },
  delta: replacedWithHead,
  training: (c) => c,
  start: ({ model }, c) => {
    const biases = trainableParams(model, biasNames(model, c));
    const headed = model.info.task === "classifier" || model.info.task === "regressor";
    return { learned: headed && c.trainHead ? { ...biases, ...headTensors(model) } : biases };
  },
});
