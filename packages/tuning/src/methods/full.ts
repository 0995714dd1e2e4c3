/** Full fine-tuning: every parameter learns. The baseline that everything else is measured against. */
import { defineMethod } from "@lfm/core";
import { trainableParams } from "@lfm/train";
import { z } from "zod";
import { fitDelta, type TuningInputs, type TuningOutput, trainingFields, tuningInputs } from "../inputs.js";

export const full = defineMethod({
  id: "full",
  paradigm: "tuning",
  summary: "Trains every parameter of the model.",
  paper: {
    title: "BERT: Pre-training of Deep Bidirectional Transformers",
    arxiv: "1810.04805",
    year: 2018,
    survey: "3.1 weight engineering",
  },
  needs: ["weights", "grad"],
  inputs: tuningInputs,
  config: z.strictObject({ ...trainingFields }),
  hooksFor: () => () => [],
  run: (inputs: TuningInputs, config, context): Promise<TuningOutput> =>
    fitDelta(inputs, config, context, {
      kind: "weights",
      method: "tuning/full",
      config,
      initial: trainableParams(inputs.model),
      hooks: () => [],
    }),
});
