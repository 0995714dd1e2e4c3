import { type Engine, LfmError, type Model } from "@lfm/core";
import { type DataBatch, type UnitStatistics, type UnitStatisticsOptions, unitStatistics } from "@lfm/statistics";
import { channelSizes, type PermutationSpec, type Tap } from "./permutation-spec.js";

/** By group, one entry per tap. */
export type ActivationStatistics = Readonly<Record<string, readonly { readonly tap: Tap; readonly statistics: UnitStatistics }[]>>;

/**
 * How the units of each group of several models vary together on the same data: {@link unitStatistics} of all taps.
 * @param specs that of each model: the same groups, sizes may differ
 * @throws {LfmError} CAPABILITY_MISSING without data, SHAPE_MISMATCH for specs of unlike models, ABORTED
 */
export async function activationStatistics(
  engine: Engine,
  models: readonly Model[],
  specs: readonly PermutationSpec[],
  data: readonly DataBatch[],
  options: UnitStatisticsOptions = {},
): Promise<ActivationStatistics> {
  const { groups } = specs[0]!;
  for (const spec of specs) {
    if (spec.groups.length !== groups.length || spec.groups.some((g, i) => g.id !== groups[i]!.id))
      throw new LfmError("SHAPE_MISMATCH", "[@lfm/reuse] alignment: the models have unlike groups of units");
  }
  const taps = specs.map((spec) => spec.groups.flatMap((g) => g.taps.map((t) => ({ ...t, units: channelSizes(g)[t.channel]! }))));
  const found = await unitStatistics(engine, models, taps, data, options);
  const seen = groups.flatMap((g) => g.taps.map((tap) => ({ id: g.id, tap }))).map((at, k) => ({ ...at, statistics: found[k]! }));
  return Object.fromEntries(
    groups.map(({ id }) => [id, seen.filter((s) => s.id === id).map(({ tap, statistics }) => ({ tap, statistics }))]),
  );
}
