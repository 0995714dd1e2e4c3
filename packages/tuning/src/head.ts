import { type DeltaForm, type HostTensor, LfmError, type Model, trainableParams } from "@lfm/core";
import { ownWeight, ownWeights } from "./own-weights.js";

/**
 * The output layer's parameters as they are before anything learns, by name. Where the output layer is the embedding it gets a matrix of its own,
 * so that the embedding stays.
 * @throws {LfmError} CAPABILITY_MISSING for a model that has none
 */
export function headTensors(model: Model): Record<string, HostTensor> {
  const heads = model.info.sites.filter((site) => site.kind === "head" && site.weight);
  if (heads.length === 0)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] this ${model.info.architecture} has no output layer that could learn`, {
      hint: "give it a head: withClassifier of @lfm/models, or examples with labels on the command line",
    });
  return Object.assign(
    {},
    ...heads.map((site) => {
      const { name, bias } = site.weight!;
      const { [name]: weight, ...rest } = trainableParams(model, [name, ...(bias === undefined ? [] : [bias])]);
      return { [ownWeight(site) ?? name]: weight, ...rest };
    }),
  );
}

/** Deltas of parameters that were replaced, an output layer's own matrix among them. */
export const replacedWithHead: DeltaForm<unknown> = Object.freeze({
  hooks: (_c, tensors) => ownWeights(tensors),
} satisfies DeltaForm<unknown>);
