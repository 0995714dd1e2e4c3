/**
 * MEMIT (arXiv 2210.07229): many facts at once, spread over the MLPs of several blocks.
 *   z = h + δ at the last of them, h what the block gives at the subject's last token (equation 16), by ROME's search
 *   at layer l of L: ΔW = R·Kᵀ(λC + KKᵀ)⁻¹, R = (z − h) / (L − l + 1) (equations 14 and 20)
 * Where there are fewer facts than the layer is wide, in the form whose system is of the size of the facts.
 */
import { cholesky } from "@lfm/core/linalg";
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { keyInputs } from "../inputs.js";
import { adjustedKeys, adjustedKeysByWidth } from "../key-equations.js";
import { blockSite, lifted } from "../keys.js";
import { rankOneForm } from "../rank-one.js";
import { type LayerSolver, type SpreadFields, spreadEditor, spreadFields } from "../spread-editor.js";
import type { NumberFields, ValueOptions } from "../value-search.js";

/** Options of MEMIT and PMET; defaults are MEMIT's but for those that are given. */
export function memitFields({
  lambda = 15_000,
  ...defaults
}: Partial<ValueOptions> & { readonly lambda?: number } = {}): SpreadFields & NumberFields<"lambda" | "ridge"> {
  return {
    ...spreadFields(defaults),
    lambda: z.number().positive().default(lambda).describe("weight λ of C, the keys that stay, beside those that are written"),
    ridge: z.number().min(0).default(1e-3).describe("added to C, in units of its mean diagonal"),
  };
}

/**
 * Layers and weights that MEMIT's authors and EasyEdit chose; those of the zoo on a batch of 40 facts of its development people (seed 11), where
 * blocks 0 and 1 stood above 1, 2 and 1 with 2 on facts and paraphrases, and λ = 1000 kept more of the rest than 10. SmolLM2's are taken over, not
 * chosen by edits (`npm run edits:presets` tries others): they end where ROME writes, with GPT-J's λ per unit that a layer reads.
 */
const memitPresets = {
  "gpt2-xl": { summary: "as for GPT-2 XL", config: { layers: [13, 14, 15, 16, 17], lambda: 20_000 } },
  "gpt-j": { summary: "as for GPT-J 6B", config: { layers: [3, 4, 5, 6, 7, 8], steps: 25 } },
  "llama-7b": { summary: "as EasyEdit for Llama 2 7B", config: { layers: [4, 5, 6, 7, 8], steps: 25, clamp: 4, weightDecay: 1e-3 } },
  zoo: { summary: "for the zoo's language model", config: { layers: [0, 1], lambda: 1000 } },
  smollm2: { summary: "for SmolLM2 135M, taken over from GPT-J", config: { layers: [4, 5, 6, 7, 8], lambda: 1500 } },
};

/** ΔW = R·Kᵀ(λC + KKᵀ)⁻¹ by whichever form is smaller. */
export function memitSolver(covariance: Float64Array, { lambda, ridge }: { readonly lambda: number; readonly ridge: number }): LayerSolver {
  const c = lifted(covariance, ridge);
  let factor: Float64Array | undefined;
  return {
    adjust: (keys) => {
      if (keys.length > keys[0]!.length) return adjustedKeysByWidth(keys, c, lambda);
      factor ??= cholesky(c, 0);
      return adjustedKeys(keys, factor, lambda);
    },
  };
}

export const memit = defineEditingMethod({
  id: "memit",
  summary: "Writes a batch of facts into the MLPs of several blocks.",
  paper: { title: "Mass-Editing Memory in a Transformer", arxiv: "2210.07229", year: 2022, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad", "activations"],
  inputs: keyInputs,
  config: z.strictObject(memitFields()),
  presets: memitPresets,
  delta: rankOneForm,
  prepare: (inputs, c, context): Editor =>
    spreadEditor(
      memit,
      { values: (model, layer) => [blockSite(model, layer)], divide: (left) => left, solver: memitSolver },
      inputs,
      c,
      context,
    ),
});
