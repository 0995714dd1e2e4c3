/**
 * ROME (arXiv 2202.05262): the MLP of one block is a memory of keys and values; write one pair with a rank-one update.
 *   k* = mean input of the output projection at the subject's last token, over prefixes (equation 3)
 *   v* by search (equation 4): see {@link ValueSearch}
 *   Ŵ = W + (v* − Wk)·(C⁻¹k*)ᵀ / (C⁻¹k*)ᵀk,  C = E[kkᵀ] (equation 2)
 * The paper's k is k*. The authors' program takes the key of the prompt alone for k, and so do the tables that ROME stands in: this is what is
 * done here. With k* in all places it is R-ROME.
 */
import { defineEditingMethod, type Editor } from "../editor.js";
import { keyInputs } from "../inputs.js";
import { rankOneForm } from "../rank-one.js";
import { type RankOneConfig, rankOneConfig, rankOneEditor, rankOnePresets } from "../rank-one-editor.js";

export type RomeConfig = RankOneConfig;

export const rome = defineEditingMethod({
  id: "rome",
  summary: "Writes facts into the MLP of one block, each with a rank-one update.",
  paper: {
    title: "Locating and Editing Factual Associations in GPT",
    arxiv: "2202.05262",
    year: 2022,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: keyInputs,
  config: rankOneConfig,
  presets: rankOnePresets,
  delta: rankOneForm,
  single: true,
  prepare: (inputs, c, context): Editor => rankOneEditor(rome, "alone", inputs, c, context),
});
