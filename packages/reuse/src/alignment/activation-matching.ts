/** Git Re-Basin's activation matching (arXiv 2209.04836 §3.1): units that answer alike on data belong together. */

import type { Engine, Model } from "@lfm/core";
import { between, correlations, type DataBatch, innerProducts, type UnitStatisticsOptions } from "@lfm/statistics";
import { activationStatistics } from "./activation-statistics.js";
import { channelSizes, type GroupPermutation, type PermutationSpec } from "./permutation-spec.js";
import { solveGroup } from "./solve-group.js";

export interface ActivationMatchingOptions extends UnitStatisticsOptions {
  /** "inner": E[a bᵀ], least squares between activations as in the paper; "correlation": Pearson's, whatever the units' scale. Default "inner". */
  readonly similarity?: "inner" | "correlation";
}

/**
 * Permutes the units of `b` so that on the data they come closest to those of `a`. Groups do not depend on each other: one assignment each.
 * A group that can be seen in several places (the residual stream, after every block) sums what it sees.
 * @throws {LfmError} CAPABILITY_MISSING, SHAPE_MISMATCH, ABORTED
 */
export async function activationMatching(
  engine: Engine,
  spec: PermutationSpec,
  a: Model,
  b: Model,
  data: readonly DataBatch[],
  options: ActivationMatchingOptions = {},
): Promise<Readonly<Record<string, GroupPermutation>>> {
  const seen = await activationStatistics(engine, [a, b], [spec, spec], data, options);
  const measure = options.similarity === "correlation" ? correlations : innerProducts;
  return Object.fromEntries(
    spec.groups.map((group) => {
      const similarity = Object.fromEntries(Object.entries(channelSizes(group)).map(([c, n]) => [c, new Float64Array(n * n)]));
      for (const { tap, statistics } of seen[group.id]!) {
        const part = between(measure(statistics), statistics.sizes, 0, 1);
        const total = similarity[tap.channel]!;
        for (let k = 0; k < total.length; k++) total[k]! += part[k]!;
      }
      return [group.id, solveGroup(group, similarity)];
    }),
  );
}
