import { LfmError, type Model, nearestName, type Site } from "@lfm/core";

/**
 * The sites a list of targets names: exact path, dotted suffix, or role ("q", "v", "out"), as in PEFT.
 * @param also what else a target may name: `parts`, the role of a part of a fused layer, for methods that can change one part alone; `embeddings`,
 *   tables of tokens
 * @throws {LfmError} CONFIG_INVALID with near misses
 */
export function targetSites(model: Model, targets: readonly string[], also: readonly ("parts" | "embeddings")[] = []): readonly Site[] {
  const [parts, tables] = [also.includes("parts"), also.includes("embeddings")];
  const linear = model.info.sites.filter((s) => s.kind === "linear" || s.kind === "head" || (tables && s.kind === "embedding" && s.weight));
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
