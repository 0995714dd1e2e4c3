import { LfmError, type Model, nearestName, type Site } from "@lfm/core";

/**
 * The sites a list of targets names: exact path, dotted suffix, or role ("q", "v", "out"), as in PEFT.
 * @param parts a role may also be that of a part of a fused layer: for methods that can change one part alone
 * @throws {LfmError} CONFIG_INVALID with near misses
 */
export function targetSites(model: Model, targets: readonly string[], parts?: "parts"): readonly Site[] {
  const linear = model.info.sites.filter((s) => s.kind === "linear" || s.kind === "head");
  const hits = (target: string): readonly Site[] =>
    target === "all-linear"
      ? linear.filter((s) => s.kind === "linear")
      : linear.filter(
          (s) =>
            s.path === target || s.path.endsWith(`.${target}`) || s.role === target || (parts && s.parts?.some((p) => p.role === target)),
        );
  for (const target of targets) {
    if (hits(target).length > 0) continue;
    const names = new Set(linear.flatMap((s) => [s.path.split(".").at(-1)!, ...(s.role ? [s.role] : [])]));
    const near = nearestName(target, names);
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] no linear layer is called "${target}"`, {
      hint: near ? `did you mean "${near}"?` : `there are: ${[...names].join(", ")}`,
    });
  }
  const chosen = new Set(targets.flatMap((t) => hits(t)));
  return linear.filter((s) => chosen.has(s));
}
