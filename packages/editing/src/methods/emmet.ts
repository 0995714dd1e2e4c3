/**
 * EMMET (arXiv 2403.14236): a batch of facts under the constraint that ROME's single one is under; keys and values as in R-ROME.
 *   Ŵ = W + (V* − WK)·(KᵀC⁻¹K + λI)⁻¹·KᵀC⁻¹ (equation 12)
 * With λ = 0 every key gets its value; λ is for keys that nearly depend on each other, and makes of it MEMIT's update at one layer.
 */
import { makeDelta } from "@lfm/core";
import { cholesky } from "@lfm/core/linalg";
import { z } from "zod";
import { defineEditingMethod, type Editor, editedModel } from "../editor.js";
import { type EditingOutput, keyInputs, requireRequests } from "../inputs.js";
import { adjustedKeys } from "../key-equations.js";
import { keyCovariance, mlpOutSite } from "../keys.js";
import { rankOneForm, rankOneTensors } from "../rank-one.js";
import { rankOneConfig, rankOnePresets } from "../rank-one-editor.js";
import { meanOf } from "../subject-reader.js";
import { ValueSearch } from "../value-search.js";

const config = z.strictObject({
  ...rankOneConfig.shape,
  lambda: z.number().min(0).default(0).describe("λ on the diagonal of the facts' system; 0 holds every fact exactly"),
});

export const emmet = defineEditingMethod({
  id: "emmet",
  summary: "Writes a batch of facts into the MLP of one block, each exactly.",
  paper: {
    title: "A Unified Framework for Model Editing",
    arxiv: "2403.14236",
    year: 2024,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: keyInputs,
  config,
  presets: rankOnePresets,
  delta: rankOneForm,
  prepare: (inputs, c, context): Editor => {
    const { model } = inputs;
    const site = mlpOutSite(model, c.layer ?? Math.floor(model.info.layers / 2));
    const search = new ValueSearch(context.engine, { inputs: [site], outputs: [site] }, c, inputs.prefixes);
    let factor: Float64Array | undefined;
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        factor ??= cholesky(await keyCovariance(context.engine, model, site, inputs, context), c.ridge);
        const on = editedModel(model, previous);
        const [keys, residuals]: [Float64Array[], Float64Array[]] = [[], []];
        const curves: Record<string, EditingOutput["curves"][string]> = {};
        for (const [i, request] of requests.entries()) {
          const run = { request, on, which: previous.length > 0 ? "edited" : "clean", phase: "emmet" } as const;
          const { wanted, read, losses } = await search.find({ ...run, part: [i, requests.length] }, context);
          const now = meanOf(read.outputs[0]!);
          keys.push(meanOf(read.inputs[0]!));
          residuals.push(wanted[0]!.map((v, o) => v - now[o]!));
          curves[requests.length > 1 ? `loss.${i + 1}` : "loss"] = losses;
        }
        const updates = adjustedKeys(keys, factor, c.lambda).map((key, i) => ({ key, value: residuals[i]! }));
        const delta = makeDelta(emmet, c, rankOneTensors(site, updates), { parent: inputs.parent ?? null });
        return { delta, model: editedModel(model, [...previous, delta]), curves };
      },
      dispose: () => search.dispose(),
    };
  },
});
