import { concat, LfmError, type Model, partsOf, type Site, slice, type Tensor } from "@lfm/core";

/** What attention is made of. */
export const projectionRoles = ["q", "k", "v"] as const;
export type ProjectionRole = (typeof projectionRoles)[number];

/** The linear sites that make queries, keys and values in a block. @throws {LfmError} CONFIG_INVALID for a block without attention */
export function projectionSites({ info }: Model, layer: number): Readonly<Record<ProjectionRole, Site>> {
  const find = (role: ProjectionRole): Site => {
    const found = info.sites.find((s) => s.layer === layer && s.kind === "linear" && partsOf(s).some((p) => p.role === role));
    if (found) return found;
    throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] layer ${layer} of ${info.architecture} has no attention`, {
      hint: "choose a method that compares states: fitnets, attention-transfer",
    });
  };
  return { q: find("q"), k: find("k"), v: find("v") };
}

/** The part of a linear site's output that has a role, f32[batch, seq, size]. @param y f32[batch, seq, out] */
export function roleOf(y: Tensor, site: Site, role: ProjectionRole): Tensor {
  const own = partsOf(site).filter((p) => p.role === role);
  const parts = own.map(({ offset, size }) => (size === site.weight!.out ? y : slice(y, 2, offset, size)));
  return parts.length === 1 ? parts[0]! : concat(parts, 2);
}
