/**
 * LP-FT (arXiv 2202.10054): first the output layer learns alone, then everything. A fresh head's first gradients would distort features that the
 * probe leaves as they are; with a head that fits, fine-tuning has less to move.
 */
import { trainableParams } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { headTensors, replacedWithHead } from "../head.js";
import { trainingFields } from "../training-options.js";

export const lpFt = defineTuning({
  id: "lp-ft",
  summary: "Trains the output layer first, then every parameter from there.",
  paper: {
    title: "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
    arxiv: "2202.10054",
    year: 2022,
    survey: "3.1 weight engineering",
  },
  config: z.strictObject({
    probeSteps: z.number().int().positive().default(200).describe("optimizer steps of the output layer alone, before those of everything"),
    probeLr: z.number().positive().default(1e-3).describe("peak learning rate of these steps"),
    ...trainingFields(1e-4),
  }),
  delta: replacedWithHead,
  training: (c) => c,
  before: ({ epochs: _, ...c }, { model, alsoTrain = [] }) => {
    const head = new Set([...Object.keys(headTensors(model)), ...alsoTrain]);
    return [{ name: "probe", learns: (name) => head.has(name), training: { ...c, steps: c.probeSteps, lr: c.probeLr } }];
  },
  start: ({ model }) => ({ learned: { ...trainableParams(model), ...headTensors(model) } }),
});
