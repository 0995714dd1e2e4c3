import { modulePatterns } from "@lfm/formats";
import { z } from "zod";

/** Ranks and scales that differ between layers. */
export const patternFields = {
  rankPattern: z
    .record(z.string(), z.number().int().positive())
    .default({})
    .describe("ranks of some layers, by path, dotted suffix or regular expression of the path, as JSON"),
  alphaPattern: z
    .record(z.string(), z.number().positive())
    .default({})
    .describe("scale numerators of some layers, by path, dotted suffix or regular expression of the path, as JSON"),
};

export type Patterns = z.output<z.ZodObject<typeof patternFields>>;

/** Rank and scale numerator of a layer, by its path. */
export interface LayerRanks {
  rank(path: string): number;
  alpha(path: string): number;
}

/** @throws {LfmError} FILE_FORMAT, OP_UNSUPPORTED, BUDGET_EXCEEDED for a pattern that is no regular expression, or none that is matched in linear time */
export function layerRanks(c: { readonly r: number; readonly alpha: number } & Patterns): LayerRanks {
  const [ranks, alphas] = [modulePatterns("rank_pattern", c.rankPattern), modulePatterns("alpha_pattern", c.alphaPattern)];
  return { rank: (path) => ranks.of(path) ?? c.r, alpha: (path) => alphas.of(path) ?? c.alpha };
}

/** The same by the path of each layer: whatever an adapter's patterns were made for, they mean these layers here. */
export function patternsOf(
  c: { readonly r: number; readonly alpha: number },
  layers: readonly { readonly path: string; readonly r: number; readonly alpha: number }[],
): Patterns {
  const differing = (of: "r" | "alpha"): Record<string, number> =>
    Object.fromEntries(layers.flatMap((layer) => (layer[of] === c[of] ? [] : [[layer.path, layer[of]] as const])));
  return { rankPattern: differing("r"), alphaPattern: differing("alpha") };
}
