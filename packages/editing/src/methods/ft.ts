/**
 * Fine-tuning as the programs of ROME, MEMIT and EasyEdit have it beside their methods (arXiv 2202.05262, appendix E): Adam for one MLP
 * projection on −log p of every answer token right behind the prompt, unbounded. For answers of one token it is FT-M.
 */
import { replacedParameters } from "@lfm/core";
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { behindPrompt, fineTuneEditor, fineTuneFields } from "../fine-tune-editor.js";

export const ft = defineEditingMethod({
  id: "ft",
  summary: "Fine-tunes one projection on the new facts, each answer token asked for right behind the prompt.",
  paper: {
    title: "Locating and Editing Factual Associations in GPT",
    arxiv: "2202.05262",
    year: 2022,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad"],
  config: z.strictObject(fineTuneFields),
  delta: replacedParameters,
  prepare: (inputs, c, context): Editor => fineTuneEditor(ft, behindPrompt, inputs, c, context),
});
