/**
 * Constrained fine-tuning (FT-L; arXiv 2012.00363, as in the ROME paper, arXiv 2202.05262, appendix E): Adam on −log p(answer) for one MLP
 * projection; after every step each weight is put back to within ε of where it was. Several facts are one batch.
 */
import { replacedParameters } from "@lfm/core";
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { behindAnswer, fineTuneEditor, fineTuneFields } from "../fine-tune-editor.js";

const config = z.strictObject({
  ...fineTuneFields,
  epsilon: z.number().positive().default(5e-4).describe("largest change ε of any weight"),
});

export const ftL = defineEditingMethod({
  id: "ft-l",
  summary: "Fine-tunes one projection on the new facts, no weight moving further than ε.",
  paper: { title: "Modifying Memories in Transformer Models", arxiv: "2012.00363", year: 2020, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad"],
  config,
  delta: replacedParameters,
  prepare: (inputs, c, context): Editor => fineTuneEditor(ftL, behindAnswer, inputs, c, context, c.epsilon),
});
