/** What LoHa and LoKr have in common, as in LyCORIS and PEFT: ranks and scales of layers, what is dropped of ΔW while training, and files. */
import { cast, div, greater, type HookContext, type HostTensor, type Model, mean, mul, type Site, type Tensor, uniformAt } from "@lfm/core";
import { type PeftAdapter, refuseOtherOptions } from "@lfm/formats";
import { z } from "zod";
import { type LayerRanks, layerRanks, patternFields, patternsOf } from "./layer-ranks.js";
import { expectShapes, type PeftParts, siteTensors } from "./peft-form.js";
import { targetFields } from "./target-sites.js";

export const lycorisFields = {
  r: z.number().int().positive().default(8).describe("rank r"),
  alpha: z.number().positive().default(8).describe("scale numerator α: the update is multiplied by α/r"),
  rankDropout: z.number().min(0).max(0.99).default(0).describe("probability that an output takes no update in a step"),
  moduleDropout: z.number().min(0).max(0.99).default(0).describe("probability that a layer takes no update in a step"),
  useEffectiveConv2d: z.boolean().default(false).describe("kernels larger than 1 by a core of r×r kernels (FedPara, proposition 3)"),
  ...patternFields,
  ...targetFields,
};
type LycorisConfig = z.output<z.ZodObject<typeof lycorisFields>>;

/** Shapes of a layer's tensors by PEFT's name of the part. */
export type PartShapes = Readonly<Record<string, readonly number[]>>;

export function scaleAt(ranks: LayerRanks, { path }: Site): number {
  return ranks.alpha(path) / ranks.rank(path);
}

/**
 * 1 and 0 to multiply the outputs of a layer's update by in this step, f32[out] or f32[1] for all of them; nothing where all of it stays.
 * @param rescaled outputs that stay make up for those that are dropped
 */
export function keptAt(
  c: Pick<LycorisConfig, "rankDropout" | "moduleDropout">,
  out: number,
  context: HookContext,
  rescaled = false,
): Tensor | undefined {
  const kept = (rate: number, size: number, label: string): Tensor | undefined => {
    const drawn = rate === 0 ? undefined : uniformAt([size], context, label);
    return drawn && cast(greater(drawn, rate), "f32");
  };
  const [rows, whole] = [kept(c.rankDropout, out, "rank"), kept(c.moduleDropout, 1, "module")];
  const scaled = rows && rescaled ? div(rows, mean(rows)) : rows;
  return scaled && whole ? mul(scaled, whole) : (scaled ?? whole);
}

/** The part of PEFT's options that both have. `part` — a tensor that every layer has one of. */
export function lycorisOptions(
  c: LycorisConfig,
  own: Readonly<Record<string, HostTensor>>,
  parts: readonly string[],
  model: Model,
  stored: (path: string) => string,
): PeftParts["options"] {
  const ranks = layerRanks(c);
  const sites = model.info.sites.filter((site) => parts.some((part) => `${site.path}.${part}` in own));
  const layers = sites.map(({ path }) => ({ path: stored(path), r: ranks.rank(path), alpha: ranks.alpha(path) }));
  const { rankPattern, alphaPattern } = patternsOf(c, layers);
  return {
    r: c.r,
    alpha: c.alpha,
    rank_dropout: c.rankDropout,
    module_dropout: c.moduleDropout,
    use_effective_conv2d: c.useEffectiveConv2d,
    rank_pattern: rankPattern,
    alpha_pattern: alphaPattern,
    target_modules: sites.map((site) => site.path),
  };
}

/** An adapter of PEFT, with patterns that mean the layers here. */
export function readLycoris(
  adapter: PeftAdapter,
  model: Model,
  parts: readonly string[],
  more: readonly string[],
  shapesAt: (site: Site, r: number) => PartShapes,
): {
  readonly config: Omit<LycorisConfig, "excludeModules" | "layersToTransform">;
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly parameters: Readonly<Record<string, HostTensor>>;
} {
  const given = adapter.config as Extract<PeftAdapter["config"], { peft_type: "LOHA" | "LOKR" }>;
  refuseOtherOptions(given, [
    "r",
    "alpha",
    "rank_dropout",
    "module_dropout",
    "use_effective_conv2d",
    "rank_pattern",
    "alpha_pattern",
    ...more,
  ]);
  const found = siteTensors(adapter, model, parts, "linear", "conv");
  const base = { r: given.r, alpha: given.alpha };
  const ranks = layerRanks({ ...base, rankPattern: given.rank_pattern ?? {}, alphaPattern: given.alpha_pattern ?? {} });
  const layers = found.sites.map((site) => {
    // Patterns were written for the names of transformers' class.
    const theirs = Object.keys(adapter.tensors).find((name) => parts.some((part) => name.endsWith(`${site.path}.${part}`)))!;
    const path = theirs.slice(0, theirs.lastIndexOf(site.path) + site.path.length);
    return { site, path: site.path, r: ranks.rank(path), alpha: ranks.alpha(path) };
  });
  for (const { site, r } of layers) expectShapes(found.tensors, site.path, shapesAt(site, r));
  const config = {
    ...base,
    rankDropout: Math.min(0.99, given.rank_dropout),
    moduleDropout: Math.min(0.99, given.module_dropout),
    useEffectiveConv2d: given.use_effective_conv2d,
    ...patternsOf(base, layers),
    targetModules: found.sites.map((site) => site.path),
  };
  return { config, tensors: found.tensors, parameters: found.parameters };
}
