import { LfmError, type Model, nearestName, type Site, type SiteKind } from "@lfm/core";
import { z } from "zod";

/** What a target may name besides linear layers. */
export type AlsoTargets = readonly ("parts" | "embeddings" | "convolutions")[];

/** Options of every method that is put onto chosen layers; {@link chosenSites} reads them. */
export const targetFields = {
  targetModules: z
    .array(z.string())
    .min(1)
    .default(["all-linear"])
    .describe("layers by path, dotted suffix or role (q, k, v, o, in, gate, out); all-linear are those of all blocks"),
  excludeModules: z.array(z.string()).default([]).describe("layers that are left out of these, named in the same ways"),
  layersToTransform: z.array(z.number().int().min(0)).optional().describe("blocks whose layers are taken, counted from 0; default all"),
};

type TargetOptions = z.output<z.ZodObject<typeof targetFields>>;

/**
 * The sites that a method's options choose.
 * @throws {LfmError} CONFIG_INVALID for a name or block that the model has not, and where nothing is left
 */
export function chosenSites(model: Model, c: TargetOptions, also: AlsoTargets = []): readonly Site[] {
  const without = new Set(c.excludeModules.length > 0 ? targetSites(model, c.excludeModules, also) : []);
  const layers = c.layersToTransform;
  const beyond = layers?.find((layer) => layer >= model.info.layers);
  if (beyond !== undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] the model has no block ${beyond}`, {
      hint: `it has ${model.info.layers}: 0 to ${model.info.layers - 1}`,
    });
  const chosen = targetSites(model, c.targetModules, also).filter(
    (site) => !without.has(site) && (layers === undefined || (site.layer !== undefined && layers.includes(site.layer))),
  );
  if (chosen.length === 0)
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] no layer is left that could learn", {
      hint: "leave out fewer with excludeModules, or take more blocks with layersToTransform",
    });
  return chosen;
}

/**
 * The sites a list of targets names: exact path, dotted suffix, or role ("q", "v", "out"), as in PEFT.
 * @param also what else a target may name: `parts`, the role of a part of a fused layer, for methods that can change one part alone; `embeddings`,
 *   tables of tokens; `convolutions`
 * @throws {LfmError} CONFIG_INVALID with near misses
 */
export function targetSites(model: Model, targets: readonly string[], also: AlsoTargets = []): readonly Site[] {
  const parts = also.includes("parts");
  const kinds: readonly SiteKind[] = ["linear", "head", ...(also.includes("convolutions") ? (["conv"] as const) : [])];
  const tables = also.includes("embeddings");
  const among = model.info.sites.filter((s) => kinds.includes(s.kind) || (tables && s.kind === "embedding" && s.weight));
  return namedSites(among, targets, "linear layer", (site, target) =>
    target === "all-linear" ? site.kind === "linear" : parts && site.parts?.some((p) => p.role === target) === true,
  );
}

/**
 * Those of some sites that a list of targets names: exact path, dotted suffix or role.
 * @param what they are, for errors
 * @param otherwise further names of a site
 * @throws {LfmError} CONFIG_INVALID with near misses
 */
export function namedSites(
  among: readonly Site[],
  targets: readonly string[],
  what: string,
  otherwise: (site: Site, target: string) => boolean = () => false,
): readonly Site[] {
  const hits = (target: string): readonly Site[] =>
    among.filter((s) => s.path === target || s.path.endsWith(`.${target}`) || s.role === target || otherwise(s, target));
  for (const target of targets) {
    if (hits(target).length > 0) continue;
    const names = new Set(among.flatMap((s) => [s.path.split(".").at(-1)!, ...(s.role ? [s.role] : [])]));
    const near = nearestName(target, names);
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] no ${what} is called "${target}"`, {
      hint: near ? `did you mean "${near}"?` : `there are: ${[...names].join(", ")}`,
    });
  }
  const chosen = new Set(targets.flatMap(hits));
  return among.filter((s) => chosen.has(s));
}
