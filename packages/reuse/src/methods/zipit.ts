/**
 * ZipIt: units that answer alike are merged, within a model as well as across, so that models of different tasks may share what they share.
 * A new unit is the mean of its group (merge), and what read a member reads the group (unmerge). Zipping only the first layers leaves a trunk
 * with one head per model. Differs from the authors' code in β = 0, which merges nothing within a model (there one pair may).
 */

import {
  type Delta,
  defineMethod,
  type HostTensor,
  LfmError,
  type Model,
  makeDelta,
  modelsInput,
  replacedParameters,
  throwIfAborted,
  withDeltas,
} from "@lfm/core";
import { correlations } from "@lfm/statistics";
import { z } from "zod";
import { activationStatistics } from "../alignment/activation-statistics.js";
import { type AlignmentInputs, readModels, withNorms } from "../alignment/inputs.js";
import { headKey, multiHead } from "../alignment/multi-head.js";
import { type UnitGroup, usesByParam } from "../alignment/permutation-spec.js";
import { mapUnits, type UnitMap, weightedSum } from "../alignment/unit-maps.js";
import { zipMap, zipMatching } from "../alignment/zip-matching.js";
import { examplesInput } from "../input-kinds.js";

export interface ZipitOutput {
  /** On the first model: f32. With heads of their own there is none: that is a model of another architecture, which no delta can say. */
  readonly delta?: Delta;
  /**
   * Answers as one model; with heads of their own, with the logits of all heads side by side, in the order of the models; its parameters are
   * then the shared ones and `heads.<model>.<parameter>`, f32.
   */
  readonly model: Model;
  /** With heads of their own: each model by itself, on the shared trunk. */
  readonly heads: Readonly<Record<string, Model>>;
  /** New unit of each old one, units of all models side by side, by group. */
  readonly groups: Readonly<Record<string, Int32Array>>;
}

const config = z.strictObject({
  layers: z.number().int().positive().optional().describe("hidden layers that are zipped, from the first on; default all"),
  heads: z
    .enum(["average", "separate"])
    .default("average")
    .describe("the last layer: averaged (equal labels), or one per model (always so when not all layers are zipped)"),
  alpha: z.number().gt(0).max(1).default(0.3).describe("factor on a unit's similarities each time it is merged (α)"),
  beta: z.number().min(0).max(1).default(0.125).describe("share of a model's merges that may join two units of its own (β)"),
});

export const zipit = defineMethod({
  id: "zipit",
  paradigm: "reuse",
  summary: "Merges units that answer alike, within and across models, wholly or up to a layer with one head per model after it.",
  paper: {
    title: "ZipIt! Merging Models from Different Tasks without Training",
    arxiv: "2305.03053",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "activations"],
  inputs: { models: modelsInput, data: { kind: examplesInput, about: "for activations; labels are not looked at" } },
  config,
  delta: replacedParameters,
  run: async (inputs: AlignmentInputs, c, context): Promise<ZipitOutput> => {
    throwIfAborted(context.signal, "[@lfm/reuse] zipit");
    const { names, models, specs } = readModels(inputs, "zipit");
    const all = specs[0]!.groups.filter((g): g is UnitGroup => g.kind === "units" && g.elementwise);
    const layers = Math.min(c.layers ?? all.length, all.length);
    const separate = c.heads === "separate" || layers < all.length;
    if (separate && all.length < specs[0]!.groups.length)
      throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] zipit: ${models[0]!.info.architecture} cannot be zipped in part`, {
        hint: "its residual stream runs through all layers: zip all of them, with averaged heads",
      });
    const total = inputs.data?.length ?? 0;
    const seen = await activationStatistics(context.engine, models, specs, inputs.data ?? [], {
      ...(context.signal ? { signal: context.signal } : {}),
      onBatch: (done) => context.progress({ phase: "activations", done, total, unit: "batch" }),
    });
    const groups: Record<string, Int32Array> = {};
    const maps: Record<string, UnitMap>[] = models.map(() => ({}));
    for (const group of all.slice(0, layers)) {
      throwIfAborted(context.signal, "[@lfm/reuse] zipit");
      const [tap] = seen[group.id]!;
      const { sizes } = tap!.statistics;
      if (separate && sizes.some((n) => n !== group.size))
        throw new LfmError(
          "SHAPE_MISMATCH",
          `[@lfm/reuse] zipit: "${group.id}" has ${sizes.join(" and ")} units; heads of their own need equal widths`,
        );
      const found = zipMatching(correlations(tap!.statistics), sizes, { target: group.size, alpha: c.alpha, beta: c.beta });
      groups[group.id] = found;
      models.forEach((_, k) => {
        maps[k]![group.id] = zipMap(found, sizes, k, group.size);
      });
    }
    const share = models.map(() => 1 / models.length);
    const mapped = models.map((m, k) => mapUnits(specs[k]!, maps[k]!, m.params));
    if (!separate) {
      const merged = await withNorms(models[0]!, weightedSum(mapped, share), inputs, context);
      const delta = makeDelta(zipit, c, merged, { parent: inputs.parent ?? null });
      return { delta, model: withDeltas(models[0]!, [delta]), heads: {}, groups };
    }
    const trunk = new Set(
      [...usesByParam(specs[0]!)].flatMap(([name, uses]) => (uses.some(({ group, use }) => use.makes && group.id in groups) ? [name] : [])),
    );
    const part = (k: number, inTrunk: boolean): Record<string, HostTensor> =>
      Object.fromEntries(Object.entries(mapped[k]!).filter(([name]) => trunk.has(name) === inTrunk));
    const shared = weightedSum(
      models.map((_, k) => part(k, true)),
      share,
    );
    const own = Object.fromEntries(names.map((name, k) => [name, part(k, false)]));
    const model = multiHead(Object.fromEntries(names.map((name, k) => [name, models[k]!])), shared, own);
    const finished = await withNorms(model, model.params as Record<string, HostTensor>, inputs, context);
    const heads = names.map((name, k) => {
      const params = Object.fromEntries(Object.keys(mapped[k]!).map((p) => [p, finished[p] ?? finished[headKey(name, p)]!]));
      return [name, { ...models[k]!, params }] as const;
    });
    return { model: { ...model, params: finished }, heads: Object.fromEntries(heads), groups };
  },
});
