/**
 * RegMean++ (arXiv 2508.03121): RegMean, block after block, on the inputs that a block gets from the merged blocks before it; inside the block
 * each model's own weights carry them on. What stands before the blocks is averaged first; what comes after them is merged like a block.
 */

import {
  defineMethod,
  type HostTensor,
  LfmError,
  type Model,
  makeDelta,
  modelInput,
  namedWeightsInput,
  replacedParameters,
  type Site,
  throwIfAborted,
  trainableParams,
} from "@lfm/core";
import { type GramStatistics, GramSum, gramSites, sumGrams, type TaskProbe } from "@lfm/statistics";
import { z } from "zod";
import { probesOf } from "../data-driven/task-probes.js";
import { taskProbesInput } from "../input-kinds.js";
import type { MergeOutput } from "../inputs.js";
import { mergeInMemory } from "../merging/in-memory.js";
import type { AdaptedMergeInputs } from "./ada-merging.js";
import { regmean, regressionFields } from "./regmean.js";

const config = z.strictObject({
  ...regressionFields,
  samples: z.number().int().positive().default(256).describe("examples of each task"),
});

export const regmeanPlusPlus = defineMethod({
  id: "regmean-plus-plus",
  paradigm: "reuse",
  summary: "Merges block after block by regression on what the merged blocks before hand on.",
  paper: {
    title: "RegMean++: Enhancing Effectiveness and Generalization of Regression Mean for Model Merging",
    arxiv: "2508.03121",
    year: 2025,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "activations"],
  inputs: {
    model: { kind: modelInput, as: "base", about: "the model that all others were tuned from" },
    models: namedWeightsInput,
    tasks: { kind: taskProbesInput, about: "what its layers read is measured; labels are not looked at" },
  },
  config,
  delta: replacedParameters,
  run: async (inputs: AdaptedMergeInputs, c, context): Promise<MergeOutput> => {
    const { model, models } = inputs;
    const probes = probesOf(models, inputs.tasks);
    const own = Object.entries(models).map(([name, weights]) => [name, trainableParams({ ...model, params: weights })] as const);
    const stages = stagesOf(model);
    const merged: Record<string, HostTensor> = {};
    for (const [number, stage] of stages.entries()) {
      throwIfAborted(context.signal, "[@lfm/reuse] regmean++");
      const chosen = own.map(([name, weights]) => [name, pick(weights, stage.params)] as const);
      const statistics: GramStatistics[] = [];
      if (stage.sites.length > 0) {
        // Later stages do not matter for these sites: their own weights stand in.
        const flows = own.map(([, weights]) => ({ ...model.params, ...weights, ...merged }));
        statistics.push(...(await measure(model, stage.sites, flows, probes, c.samples, context, number, stages.length)));
      } else statistics.push(...own.map(() => empty));
      const parts = { models: Object.fromEntries(chosen), statistics: Object.fromEntries(own.map(([name], i) => [name, statistics[i]!])) };
      Object.assign(merged, await mergeInMemory(regmean.merging, parts, c, { ...context, progress: () => {} }));
      context.progress({ phase: "merge", done: number + 1, total: stages.length, unit: "stage" });
    }
    return { delta: makeDelta(regmeanPlusPlus, c, merged, { parent: inputs.parent ?? null }) };
  },
});

const empty: GramStatistics = { kind: "gram", tensors: {}, layouts: {}, rows: {}, model: "", samples: 0 };

interface Stage {
  readonly sites: readonly Site[];
  readonly params: readonly string[];
}

/** What stands before the blocks, each block, and what comes after the last. @throws {LfmError} CAPABILITY_MISSING */
function stagesOf(model: Model): readonly Stage[] {
  const { sites, params, architecture } = model.info;
  const blocks = [...new Set(sites.flatMap((s) => (s.layer === undefined ? [] : [s.layer])))].sort((a, b) => a - b);
  if (blocks.length === 0)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] ${architecture} has no blocks to merge one after another`);
  const after = sites.findLastIndex((s) => s.layer !== undefined);
  const measured = gramSites(model);
  const stageOfSite = (site: Site): number =>
    site.layer === undefined ? (sites.indexOf(site) > after ? blocks.length + 1 : 0) : blocks.indexOf(site.layer) + 1;
  // A parameter belongs to the first site that reads it; one that no site names (positions) stands before the blocks.
  const stageOfParam = (name: string): number => {
    const readers = sites.filter((s) => s.weight?.name === name || s.weight?.bias === name || name.startsWith(`${s.path}.`));
    const exact = readers.filter((s) => !readers.some((other) => other !== s && other.path.startsWith(`${s.path}.`)));
    return exact.length === 0 ? 0 : Math.min(...exact.map(stageOfSite));
  };
  const names = Object.keys(params).filter((n) => params[n]!.trainable);
  return Array.from({ length: blocks.length + 2 }, (_, stage) => ({
    sites: measured.filter((s) => stageOfSite(s) === stage),
    params: names.filter((n) => stageOfParam(n) === stage),
  })).filter((s) => s.params.length > 0);
}

/** Gram matrices of the sites of one stage for each model, on its task's examples. */
async function measure(
  model: Model,
  sites: readonly Site[],
  flows: readonly Model["params"][],
  probes: readonly TaskProbe[],
  samples: number,
  context: Parameters<typeof regmeanPlusPlus.run>[2],
  stage: number,
  stages: number,
): Promise<GramStatistics[]> {
  const found: GramStatistics[] = [];
  for (const [i, probe] of probes.entries()) {
    const total = new GramSum(sites);
    const progress = (p: { readonly done: number; readonly total: number }): void =>
      context.progress({
        phase: "gram",
        done: (stage * probes.length + i) * p.total + p.done,
        total: stages * probes.length * p.total,
        unit: "example",
      });
    await sumGrams(total, context.engine, model, flows[i]!, probe, { ...context, samples, progress });
    found.push({ ...empty, ...total.mean(), samples });
  }
  return found;
}

function pick(weights: Readonly<Record<string, HostTensor>>, names: readonly string[]): Record<string, HostTensor> {
  return Object.fromEntries(names.map((n) => [n, weights[n]!]));
}
