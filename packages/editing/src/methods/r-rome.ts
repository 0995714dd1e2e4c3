/**
 * R-ROME (arXiv 2403.07175): ROME with the same averaged key in numerator and denominator, as ROME's equations have it. Where the key of the
 * prompt alone and the averaged one part, ROME's program divides by a small number: single edits that ruin the model.
 */
import { defineEditingMethod, type Editor } from "../editor.js";
import { keyInputs } from "../inputs.js";
import { rankOneForm } from "../rank-one.js";
import { rankOneConfig, rankOneEditor, rankOnePresets } from "../rank-one-editor.js";

export const rRome = defineEditingMethod({
  id: "r-rome",
  summary: "Writes facts as ROME does, with one averaged key throughout.",
  paper: {
    title: "Rebuilding ROME: Resolving Model Collapse during Sequential Model Editing",
    arxiv: "2403.07175",
    year: 2024,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: keyInputs,
  config: rankOneConfig,
  presets: rankOnePresets,
  delta: rankOneForm,
  single: true,
  prepare: (inputs, c, context): Editor => rankOneEditor(rRome, "mean", inputs, c, context),
});
