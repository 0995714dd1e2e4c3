import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type GramStatistics, loadStats, requireKind, saveStats } from "@lfm/statistics";
import type { CellContext } from "../../apps/bench/src/scenario.js";
import { keyStatistics, type RealModel } from "../../apps/bench/src/scenarios/editing/real-model.js";

const cache = join(import.meta.dirname, "../../.cache/edits");

/** Second moments of what flows into the MLPs' output projections of some blocks, a file a block in .cache/edits; what is not there is measured. */
export async function keptStatistics(
  real: RealModel,
  layers: readonly number[],
  run: Pick<CellContext, "engine" | "signal" | "progress">,
): Promise<GramStatistics> {
  const path = (layer: number): string => join(cache, `${real.hash.slice(0, 16)}-${layer}.gram.safetensors`);
  const missing = layers.filter((layer) => !existsSync(path(layer)));
  if (missing.length > 0) {
    mkdirSync(cache, { recursive: true });
    const all = await keyStatistics(real, missing, run);
    for (const layer of missing) {
      const own = Object.keys(all.tensors).filter((name) => name.includes(`.${layer}.`));
      const of = <T>(values: Readonly<Record<string, T>>): Readonly<Record<string, T>> =>
        Object.fromEntries(own.map((name) => [name, values[name]!]));
      await saveStats(path(layer), { ...all, tensors: of(all.tensors), layouts: of(all.layouts), rows: of(all.rows) });
    }
  }
  const files = layers.map((layer) => requireKind(loadStats(path(layer)), "gram", path(layer)));
  return {
    ...files[0]!,
    tensors: Object.assign({}, ...files.map((file) => file.tensors)) as GramStatistics["tensors"],
    layouts: Object.assign({}, ...files.map((file) => file.layouts)) as GramStatistics["layouts"],
    rows: Object.assign({}, ...files.map((file) => file.rows)) as GramStatistics["rows"],
  };
}
