/**
 * FT-M (arXiv 2401.01286, section 4.1): fine-tuning of one MLP projection on the answer alone, the prompt masked out of the loss, every token
 * behind those before it; unbounded.
 */
import { replacedParameters } from "@lfm/core";
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { behindAnswer, fineTuneEditor, fineTuneFields } from "../fine-tune-editor.js";

export const ftM = defineEditingMethod({
  id: "ft-m",
  summary: "Fine-tunes one projection on the answers of the new facts, the prompts masked.",
  paper: {
    title: "A Comprehensive Study of Knowledge Editing for Large Language Models",
    arxiv: "2401.01286",
    year: 2024,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad"],
  config: z.strictObject(fineTuneFields),
  delta: replacedParameters,
  prepare: (inputs, c, context): Editor => fineTuneEditor(ftM, behindAnswer, inputs, c, context),
});
