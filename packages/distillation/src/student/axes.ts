import { LfmError, type Model, partsOf, type Site, type SiteRole } from "@lfm/core";

/** What an axis of a parameter runs over. */
type AxisKind = "stream" | "inner" | "queries" | "keys" | "whole";

/** An axis: a part of a fused layer has one of its own, and `layer` tells inner units and heads of blocks apart. */
export interface Axis {
  readonly kind: AxisKind;
  readonly layer?: number;
  readonly size: number;
}

/** The axes of a parameter; an axis of several parts (fused layers) has them one behind the other. */
export type ParameterAxes = readonly (readonly Axis[])[];

const OUT: Readonly<Partial<Record<SiteRole, AxisKind>>> = {
  q: "queries",
  k: "keys",
  v: "keys",
  o: "stream",
  gate: "inner",
  in: "inner",
  out: "stream",
};
const IN: Readonly<Partial<Record<SiteRole, AxisKind>>> = { o: "queries", out: "inner" };

/**
 * What the axes of every parameter of a transformer run over: the stream that all blocks add to, the units of a block's MLP, its heads, or something
 * that stays (tokens, positions, classes).
 * @throws {LfmError} CAPABILITY_MISSING for a model that is no stack of attention and MLP over one stream
 */
export function axesOf(model: Model): ReadonlyMap<string, ParameterAxes> {
  const { info } = model;
  const { hiddenSize: hidden } = info;
  if (!info.sites.some((s) => s.kind === "scores"))
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/distillation] ${info.architecture} is not made narrower: it is no transformer`, {
      hint: "write a config.json of a smaller one, and give its folder as --student",
    });
  const { heads, headDim } = info.sites.find((s) => s.kind === "scores")!.attention!;
  const apart = info.sites.find((s) => partsOf(s).some((p) => p.role === "q" && p.size !== heads * headDim));
  if (apart)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/distillation] "${apart.path}" of ${info.architecture} lies head by head: it is not made narrower`,
      {
        hint: "leave layers out instead: --every 2",
      },
    );
  const found = new Map<string, ParameterAxes>();
  const free = (size: number): Axis => ({ kind: size === hidden ? "stream" : "whole", size });
  for (const site of info.sites) {
    const { weight } = site;
    if (!weight) continue;
    const [out, inputs] = [outAxis(site, free), [inAxis(site, free)]];
    // A head that is the embedding was declared there first, and lies as rows by tokens in both.
    if (!found.has(weight.name)) found.set(weight.name, weight.layout === "out-in" ? [out, inputs] : [inputs, out]);
    if (weight.bias) found.set(weight.bias, [out]);
  }
  for (const [name, { shape }] of Object.entries(info.params))
    if (!found.has(name))
      found.set(
        name,
        shape.map((size, i) => [i === shape.length - 1 ? free(size) : { kind: "whole", size }]),
      );
  return found;
}

function outAxis(site: Site, free: (size: number) => Axis): readonly Axis[] {
  const parts = partsOf(site);
  if (site.role === "classifier" || site.kind === "head") return [{ kind: "whole", size: site.weight!.out }];
  if (parts.length === 0) return [free(site.weight!.out)];
  return parts.map(({ role, size }) => ({
    kind: OUT[role] ?? free(size).kind,
    size,
    ...(site.layer === undefined ? {} : { layer: site.layer }),
  }));
}

function inAxis(site: Site, free: (size: number) => Axis): Axis {
  const size = site.weight!.in;
  const kind = (site.role && IN[site.role]) ?? (site.kind === "embedding" ? "whole" : free(size).kind);
  return { kind, size, ...(site.layer === undefined ? {} : { layer: site.layer }) };
}
