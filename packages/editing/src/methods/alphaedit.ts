/**
 * AlphaEdit (arXiv 2410.02355): MEMIT whose change is projected on the null space of C, so that what flows through the layers otherwise stays as
 * it is; keys of earlier edits stay too.
 *   ΔW = R·KᵀP·(K_pK_pᵀP + KKᵀP + λI)⁻¹ (equation 14), P the projector on eigenvectors of C with small eigenvalues, K_p earlier keys
 * With A = [K_p K] it is ΔW = R·E·(AᵀPA + λI)⁻¹·AᵀP, E the rows of K: a system of the size of the facts, to which each edit adds its own rows.
 */
import { LfmError, previousInput } from "@lfm/core";
import { matrix, symmetricEigen } from "@lfm/core/linalg";
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { GrowingSystem } from "../growing-system.js";
import { keyInputs } from "../inputs.js";
import { blockSite } from "../keys.js";
import { NullSpace } from "../null-space.js";
import { rankOneForm } from "../rank-one.js";
import { type LayerSolver, spreadEditor, spreadFields } from "../spread-editor.js";

const config = z.strictObject({
  ...spreadFields(),
  threshold: z.number().positive().default(0.02).describe("eigenvalues of C below this one are the null space"),
  nullShare: z
    .number()
    .gt(0)
    .lte(1)
    .optional()
    .describe("instead of a threshold: the smallest eigenvalues that together hold at most this share of all"),
  l2: z.number().positive().default(1).describe("weight λ of the length of the change"),
});

export const alphaedit = defineEditingMethod({
  id: "alphaedit",
  summary: "Writes a batch of facts where the layers' usual keys and those of earlier edits do not reach.",
  paper: {
    title: "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models",
    arxiv: "2410.02355",
    year: 2024,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: {
    ...keyInputs,
    previous: { kind: previousInput, optional: true, about: "earlier edits, whose keys are kept" },
  },
  config,
  presets: {
    "gpt2-xl": { summary: "as for GPT-2 XL", config: { layers: [13, 14, 15, 16, 17], l2: 10 } },
    "llama-8b": { summary: "as for Llama 3 8B", config: { layers: [4, 5, 6, 7, 8], steps: 25, lr: 0.1 } },
  },
  delta: rankOneForm,
  prepare: (inputs, c, context): Editor =>
    spreadEditor(
      alphaedit,
      { values: (model, layer) => [blockSite(model, layer)], divide: (left) => left, solver: nullSpaceSolver, keepsKeys: true },
      inputs,
      c,
      context,
    ),
});

function nullSpaceSolver(covariance: Float64Array, { threshold, nullShare, l2 }: z.output<typeof config>): LayerSolver {
  const width = Math.round(Math.sqrt(covariance.length));
  const free = new NullSpace(
    symmetricEigen(matrix(width, width, covariance)),
    nullShare === undefined ? { threshold } : { share: nullShare },
  );
  if (free.dimensions === 0)
    throw new LfmError(
      "CONFIG_INVALID",
      "[@lfm/editing] alphaedit: no eigenvalue of C is as small as asked: there is no null space to write in",
      {
        hint: nullShare === undefined ? "--null-share 0.02" : "raise --null-share",
      },
    );
  const system = new GrowingSystem(l2);
  let known: readonly Float64Array[] = [];
  return {
    adjust: (keys, past) => {
      const all = [...past, ...keys];
      let same = 0;
      while (same < Math.min(known.length, all.length) && sameValues(known[same]!, all[same]!)) same++;
      system.truncate(same);
      for (const k of all.slice(same)) system.add(free.project(k));
      known = all;
      return keys.map((_, i) => system.combination(past.length + i));
    },
  };
}

function sameValues(a: Float64Array, b: Float64Array): boolean {
  return a === b || a.every((v, i) => v === b[i]);
}
