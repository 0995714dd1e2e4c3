/**
 * PMET (arXiv 2308.08742): MEMIT with values of attention and MLP searched for together at the last layer, of which that of the MLP alone is
 * written: what attention would have to change does not burden the weights.
 *   at layer l of L: ΔW = R·Kᵀ(λC + KKᵀ)⁻¹, R = (m* − m) / √(L − l + 1), m what the MLP of layer L gives (section 4)
 * The authors' program also turns the answer's loss down once the answer leads; the paper has no such term, and it is left out here.
 */
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { keyInputs } from "../inputs.js";
import { attentionOutSite, mlpOutSite } from "../keys.js";
import { rankOneForm } from "../rank-one.js";
import { spreadEditor } from "../spread-editor.js";
import { memitFields, memitSolver } from "./memit.js";

export const pmet = defineEditingMethod({
  id: "pmet",
  summary: "Writes a batch of facts into the MLPs of several blocks, with attention free in the search.",
  paper: { title: "PMET: Precise Model Editing in a Transformer", arxiv: "2308.08742", year: 2023, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad", "activations"],
  inputs: keyInputs,
  config: z.strictObject(memitFields({ steps: 30, lr: 0.2, klFactor: 1 })),
  delta: rankOneForm,
  prepare: (inputs, c, context): Editor =>
    spreadEditor(
      pmet,
      {
        values: (model, layer) => [mlpOutSite(model, layer), attentionOutSite(model, layer)],
        divide: Math.sqrt,
        solver: memitSolver,
      },
      inputs,
      c,
      context,
    ),
});
