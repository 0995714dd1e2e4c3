import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { type FileTensor, LfmError } from "@lfm/core";
import { findStatistics, loadStats, refuseOtherWeights, requireKind, type Statistics } from "@lfm/statistics";
import type { PlannedStatistics, PlannedTensor } from "../merging/plan.js";
import { nameIn } from "./adapters.js";
import type { MergeDocument, Parameters } from "./document.js";
import type { ModelFiles } from "./model-files.js";
import type { NamedMethod } from "./parameters.js";
import type { PlanMergeOptions } from "./plan-options.js";
import type { PlannedModule } from "./slices.js";
import { shapeOf, storedTensor } from "./tensor-types.js";

/** The statistics of a merge, their headers read. */
export interface StatisticsFiles {
  /** What is known of a tensor, under the name that it has in the model's file. */
  of(files: ModelFiles, parameters: Parameters, tensor: string): PlannedStatistics | undefined;
  /** What a user should know of the plan. */
  notes(tensors: readonly PlannedTensor[]): string[];
}

/**
 * Opens `statistics: path` of every model that a configuration lists, paths from the configuration's folder. Everything that a file tells must
 * fit a tensor of its model.
 * @returns undefined for methods that read none
 * @throws {LfmError} CONFIG_INVALID (not given, another kind), FILE_IO, FILE_FORMAT, SHAPE_MISMATCH, PARENT_MISMATCH
 */
export async function findStatisticsFiles(
  document: MergeDocument,
  { method }: NamedMethod,
  modules: readonly PlannedModule[],
  { folder = ".", hashOf }: Pick<PlanMergeOptions, "folder" | "hashOf">,
): Promise<StatisticsFiles | undefined> {
  const kind = method.merging.statistics;
  if (!kind) return undefined;
  const open = new Map<string, Statistics>();
  const known = new Map<string, ReadonlyMap<string, PlannedStatistics>>();
  const unverified = new Set<string>();
  for (const { where, sources } of modules.flatMap((m) => m.slices))
    for (const { files, parameters } of sources) {
      const given = parameters.statistics;
      if (given !== undefined && typeof given !== "string")
        throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${where}: statistics of "${files.name}" are not the path of a file`, {
          hint: `parameters: {statistics: a.${kind}.safetensors}`,
        });
      const key = keyOf(files, parameters);
      if (known.has(key)) continue;
      if (given !== undefined && !open.has(given))
        open.set(given, openStatistics(isAbsolute(given) ? given : join(folder, given), files.name));
      const statistics = requireKind(given === undefined ? undefined : open.get(given), kind, files.name);
      known.set(key, matched(statistics, files));
      // The hash of a model with an adapter in it is nobody's: it depends on how the adapter was merged.
      const hash = files.adapterFolder === undefined ? await hashOf?.(files) : undefined;
      if (hash === undefined) unverified.add(files.name);
      else refuseOtherWeights(statistics, hash, files.name);
    }
  return {
    of: (files, parameters, tensor) => known.get(keyOf(files, parameters))?.get(tensor),
    notes: (tensors) => {
      const merged = tensors.filter((t) => t.method === method.id);
      const weighed = merged.filter((t) => t.models.every((m) => m.statistics));
      const names = [...unverified].map((n) => `"${n}"`).join(", ");
      return [
        `${document.method}: every model has statistics of ${weighed.length} of ${merged.length} tensors${weighed.length < merged.length ? "; the others are averaged" : ""}`,
        ...(names
          ? [`of ${names}, names and shapes fit the statistics; whether they were taken with these very weights was not looked at`]
          : []),
      ];
    },
  };
}

function openStatistics(path: string, model: string): Statistics {
  if (existsSync(path)) return loadStats(path);
  throw new LfmError("FILE_IO", `[@lfm/reuse] statistics of "${model}": there is no file ${path}`, {
    details: { model, file: path },
    hint: "paths are relative to the configuration's folder; `lfm stats` writes such files",
  });
}

function keyOf(files: ModelFiles, { statistics }: Parameters): string {
  return JSON.stringify([files.name, statistics]);
}

/** Statistics under the names of the model's file. */
function matched(statistics: Statistics, files: ModelFiles): Map<string, PlannedStatistics> {
  const found = new Map<string, PlannedStatistics>();
  for (const name of Object.keys(statistics.tensors)) {
    const own = nameIn(files.tensors, name) ?? nameIn(files.tensors, oldName(name));
    if (own === undefined)
      throw new LfmError(
        "PARENT_MISMATCH",
        `[@lfm/reuse] the statistics given for "${files.name}" tell of "${name}", which it does not have`,
        {
          details: { model: files.name, tensor: name },
          hint: "they were taken with another model: is the order right?",
        },
      );
    const { tensor, layout } = findStatistics(statistics, name, shapeOf(files.tensors.get(own)!), files.name)!;
    found.set(own, { source: storedTensor(name, tensor as FileTensor), ...(layout ? { layout } : {}) });
  }
  return found;
}

/** Layer norms in checkpoints of old. */
function oldName(name: string): string {
  return name
    .replace(/(LayerNorm|layernorm|layer_norm)\.weight$/, "$1.gamma")
    .replace(/(LayerNorm|layernorm|layer_norm)\.bias$/, "$1.beta");
}
