import { type Delta, type DeltaMethod, type MethodContext, makeDelta } from "@lfm/core";
import { cholesky } from "@lfm/core/linalg";
import { z } from "zod";
import { type Editor, editedModel } from "./editor.js";
import { type EditingOutput, type EditorInputs, type EditRequest, requireRequests } from "./inputs.js";
import { keyCovariance, mlpOutSite } from "./keys.js";
import { type RankOne, rankOneTensors, rankOneUpdate } from "./rank-one.js";
import { meanOf } from "./subject-reader.js";
import { ValueSearch, valueFields } from "./value-search.js";

export const rankOneConfig = z.strictObject({
  layer: z.number().int().min(0).optional().describe("block to write into; default the middle one"),
  ...valueFields(),
  ridge: z.number().min(0).default(1e-3).describe("added to C, in units of its mean diagonal"),
});
/**
 * Where ROME's authors and EasyEdit write. The zoo's is from 31 edits of its development people (seed 11), by ES, PS, NS: block 2 has 100, 94, 96, block
 * 1 100, 85, 97; with ROME's own decay of .5, under which a value may stay out of reach (its v₀ is short), block 2 has 97, 96, 94.
 * SmolLM2's is between the heights of GPT-2 XL's and of GPT-J's: it is taken over, not chosen by edits (`npm run edits:presets` tries others).
 */
export const rankOnePresets = {
  "gpt2-medium": { summary: "as for GPT-2 medium", config: { layer: 8, clamp: 3 } },
  "gpt2-xl": { summary: "as for GPT-2 XL", config: { layer: 17 } },
  "gpt-j": { summary: "as for GPT-J 6B", config: { layer: 5 } },
  "llama-7b": { summary: "as for Llama 2 7B", config: { layer: 5, steps: 25, weightDecay: 1e-3 } },
  zoo: { summary: "for the zoo's language model", config: { layer: 2, steps: 25, weightDecay: 0.005 } },
  smollm2: { summary: "for SmolLM2 135M, at a height taken over from other models", config: { layer: 8 } },
};
export type RankOneConfig = z.output<typeof rankOneConfig>;

/**
 * The editor of ROME and R-ROME: a value by search, a key, a rank-one update of one MLP projection; several facts are written one after the
 * other, each into the model with those before it.
 * @param given the key that afterwards gives the value: that of the prompt `alone`, or the `mean` over the prefixes, along which the change lies
 */
export function rankOneEditor(
  method: DeltaMethod<RankOneConfig>,
  given: "alone" | "mean",
  inputs: EditorInputs,
  c: RankOneConfig,
  context: MethodContext,
): Editor {
  const { model } = inputs;
  const site = mlpOutSite(model, c.layer ?? Math.floor(model.info.layers / 2));
  const search = new ValueSearch(context.engine, { inputs: [site], outputs: [site] }, c, inputs.prefixes);
  let factor: Float64Array | undefined;
  const write = async (request: EditRequest, previous: readonly Delta[], part: readonly [number, number]): Promise<Written> => {
    factor ??= cholesky(await keyCovariance(context.engine, model, site, inputs, context), c.ridge);
    const [on, which] = [editedModel(model, previous), previous.length > 0 ? "edited" : "clean"] as const;
    const { wanted, read, losses } = await search.find({ request, on, which, phase: method.id, part }, context);
    const [keys, values] = [read.inputs[0]!, read.outputs[0]!];
    const mean = meanOf(keys);
    // The projection is linear: its mean output over the prefixes is what it gives (bias, adapters and earlier edits included) for the mean key.
    const update =
      given === "mean"
        ? rankOneUpdate(mean, meanOf(values), wanted[0]!, factor)
        : rankOneUpdate(mean, values[0]!, wanted[0]!, factor, keys[0]!);
    return { update, losses };
  };
  const patch = (written: readonly Written[]): Delta => {
    const updates = written.map((w) => w.update);
    return makeDelta(method, c, rankOneTensors(site, updates), { parent: inputs.parent ?? null });
  };
  return {
    edit: async (requests, previous = []) => {
      requireRequests(requests);
      const written: Written[] = [];
      for (const [i, request] of requests.entries()) {
        const below = written.length > 0 ? [...previous, patch(written)] : previous;
        written.push(await write(request, below, [i, requests.length]));
      }
      const delta = patch(written);
      const curves = written.map((w, i) => [written.length > 1 ? `loss.${i + 1}` : "loss", w.losses] as const);
      return { delta, model: editedModel(model, [...previous, delta]), curves: Object.fromEntries(curves) };
    },
    dispose: () => search.dispose(),
  };
}

interface Written {
  readonly update: RankOne;
  readonly losses: EditingOutput["curves"][string];
}
