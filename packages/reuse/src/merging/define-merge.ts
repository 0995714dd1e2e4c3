import type { Method, Presets } from "@lfm/core";
import { makeDelta, namedWeightsInput, replacedParameters, weightsInput } from "@lfm/core";
import { z } from "zod";
import { fishersInput, gramsInput } from "../input-kinds.js";
import type { MergeInputs } from "../inputs.js";
import { mergeInMemory } from "./in-memory.js";
import type { MergeMethod, MergeSpec, MergeTensor, Survey } from "./merge-method.js";

/**
 * Makes a method of a merge. In its config a parameter of each model is one value for all or a list with one value per model.
 * @throws {LfmError} CONFIG_INVALID
 */
export function defineMerge<S extends z.ZodRawShape, P extends z.ZodRawShape>(spec: MergeSpec<S, P>): MergeMethod {
  const shared = z.strictObject(spec.shared) as unknown as z.ZodObject;
  const perModel = z.strictObject(spec.perModel) as unknown as z.ZodObject;
  const lists = Object.fromEntries(
    Object.entries(spec.perModel as unknown as Readonly<Record<string, z.ZodType>>).map(([key, one]) => [
      key,
      z.union([one, z.array(one)]).describe(`${one.description}; one for all, or one per model`),
    ]),
  );
  const merging = {
    mergekit: spec.mergekit ?? [spec.id.replaceAll("-", "_")],
    base: spec.base,
    models: spec.models,
    shared,
    perModel,
    ...(spec.statistics ? { statistics: spec.statistics } : {}),
    ...(spec.held ? { held: spec.held } : {}),
    ...(spec.survey ? { survey: spec.survey as Survey } : {}),
    merge: spec.merge as (tensor: MergeTensor) => void,
  };
  const method: MergeMethod = Object.freeze({
    id: spec.id,
    paradigm: "reuse" as const,
    summary: spec.summary,
    paper: spec.paper,
    needs: ["weights"] as const,
    inputs: {
      base: {
        kind: weightsInput,
        about: "the model all others were tuned from",
        ...(spec.base === "required" ? {} : { optional: true as const }),
      },
      models: namedWeightsInput,
      ...(spec.statistics ? { statistics: spec.statistics === "fisher" ? fishersInput : gramsInput } : {}),
    },
    config: z.strictObject({ ...spec.shared, ...lists }) as unknown as z.ZodObject,
    ...(spec.presets ? { presets: spec.presets as Presets<Record<string, unknown>> } : {}),
    delta: replacedParameters,
    merging,
    run: async (inputs: MergeInputs, config: Record<string, unknown>, context: Parameters<Method["run"]>[2]) => {
      const tensors = await mergeInMemory(merging, inputs, config, context);
      return { delta: makeDelta(method, config, tensors, { parent: inputs.parent ?? null }) };
    },
  });
  return method;
}
