/** Full fine-tuning: every parameter learns. The baseline that the others are measured against. */
import { replacedParameters, trainableParams } from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { trainingFields } from "../training-options.js";

export const full = defineTuning({
  id: "full",
  summary: "Trains every parameter of the model.",
  paper: {
    title: "BERT: Pre-training of Deep Bidirectional Transformers",
    arxiv: "1810.04805",
    year: 2018,
    survey: "3.1 weight engineering",
  },
  config: z.strictObject({ ...trainingFields(1e-4) }),
  delta: replacedParameters,
  training: (c) => c,
  start: ({ model }) => ({ learned: trainableParams(model) }),
});
