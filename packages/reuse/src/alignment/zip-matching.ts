/** ZipIt's matching (arXiv 2305.03053 §4.2–4.3): greedy, within a model as well as across. */
import { LfmError } from "@lfm/core";
import type { UnitMap } from "./unit-maps.js";

export interface ZipOptions {
  /** Units that are left. */
  readonly target: number;
  /** α in (0, 1]: a unit's similarities are multiplied by this each time it is merged, so that groups stay small. 1 does not hold back. */
  readonly alpha: number;
  /** β in [0, 1]: share of the merges of each model that may join two units of its own. 0 merges across models only. */
  readonly beta: number;
}

/**
 * Joins the two most alike units again and again until `target` are left; a joined unit is as alike to others as its less alike half.
 * @param similarity f64[N, N], symmetric: correlations of the units of all models side by side
 * @param sizes units of each model, Σ = N
 * @returns i32[N]: the new unit of each old one
 * @throws {LfmError} CONFIG_INVALID for a target that cannot be reached
 */
export function zipMatching(similarity: Float64Array, sizes: readonly number[], { target, alpha, beta }: ZipOptions): Int32Array {
  const n = sizes.reduce((a, b) => a + b, 0);
  if (!(target >= 1 && target <= n)) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] zip: ${n} units cannot become ${target}`);
  const never = Number.NEGATIVE_INFINITY;
  const s = similarity.slice();
  const owner = Int32Array.from(sizes.flatMap((size, k) => new Array<number>(size).fill(k)));
  const budget = sizes.map(() => Math.floor(Math.floor((n - target) / sizes.length) * beta + 1e-4));
  const alive = new Uint8Array(n).fill(1);
  const joined = Int32Array.from({ length: n }, (_, i) => i);
  const nearest = new Int32Array(n);
  const find = (row: number): void => {
    let best = -1;
    for (let j = 0; j < n; j++) if (alive[j] === 1 && (best < 0 || s[row * n + j]! > s[row * n + best]!)) best = j;
    nearest[row] = best;
  };
  const forbidWithin = (model: number): void => {
    for (let i = 0; i < n; i++)
      if (owner[i] === model && alive[i] === 1) {
        for (let j = 0; j < n; j++) if (owner[j] === model) s[i * n + j] = never;
        find(i);
      }
  };
  for (let i = 0; i < n; i++) {
    s[i * n + i] = never;
    find(i);
  }
  // As in the authors' code a budget is asked for after a merge: a β above 0 always allows one.
  if (beta === 0) for (const model of sizes.keys()) forbidWithin(model);
  for (let left = n; left > target; left--) {
    let row = -1;
    for (let i = 0; i < n; i++) if (alive[i] === 1 && (row < 0 || s[i * n + nearest[i]!]! > s[row * n + nearest[row]!]!)) row = i;
    const other = nearest[row]!;
    if (s[row * n + other] === never)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/reuse] zip: ${left} units left and no two of them may be merged, ${target} were asked for`,
        {
          hint: "raise beta: with it models of unequal widths merge units of their own",
        },
      );
    const [keep, gone] = row < other ? [row, other] : [other, row];
    for (let i = 0; i < n; i++) if (joined[i] === gone) joined[i] = keep;
    alive[gone] = 0;
    for (let j = 0; j < n; j++) {
      if (alive[j] === 0 || j === keep) continue;
      const lower = Math.min(s[keep * n + j]!, s[gone * n + j]!) * alpha;
      s[keep * n + j] = lower;
      s[j * n + keep] = lower;
    }
    find(keep);
    for (let j = 0; j < n; j++) {
      if (alive[j] === 0 || j === keep) continue;
      if (nearest[j] === keep || nearest[j] === gone) find(j);
      else if (isNearer(s, n, j, keep, nearest[j]!)) nearest[j] = keep;
    }
    const own = owner[keep]!;
    if (own === owner[gone]) {
      budget[own]!--;
      if (budget[own]! <= 0) forbidWithin(own);
    }
  }
  const order = new Map(Array.from(joined.filter((g, i) => g === i)).map((g, at) => [g, at]));
  return joined.map((g) => order.get(g)!);
}

/** Larger, or as large and earlier in the row, as a search for the first largest would find. */
function isNearer(s: Float64Array, n: number, row: number, candidate: number, than: number): boolean {
  const [a, b] = [s[row * n + candidate]!, s[row * n + than]!];
  return a > b || (a === b && candidate < than);
}

/** The merge (mean of the group) and unmerge (a copy to each member) matrices of one model, for Σₖ over models with weight 1/models. */
export function zipMap(groups: Int32Array, sizes: readonly number[], model: number, target: number): UnitMap {
  const from = sizes[model]!;
  const start = sizes.slice(0, model).reduce((a, b) => a + b, 0);
  const members = new Float64Array(target);
  for (const g of groups) members[g]! += 1;
  const makes = new Float64Array(target * from);
  const reads = new Float64Array(target * from);
  for (let j = 0; j < from; j++) {
    const g = groups[start + j]!;
    makes[g * from + j] = sizes.length / members[g]!;
    reads[g * from + j] = 1;
  }
  return { to: target, from, makes, reads };
}
