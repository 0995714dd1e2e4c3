/** Git Re-Basin's weight matching (arXiv 2209.04836, Algorithm 1). */
import { LfmError, loadWeight, type Rng, throwIfAborted, type Weights, widenToF32 } from "@lfm/core";
import { addInnerProducts } from "@lfm/core/linalg";
import {
  channelSizes,
  type GroupPermutation,
  identityPermutations,
  type PermutationGroup,
  type PermutationSpec,
  type Permutations,
  permuteTensor,
  usesByParam,
} from "./permutation-spec.js";
import { matchedValue, type Similarity, solveGroup } from "./solve-group.js";
import { unitRows } from "./unit-rows.js";

export interface WeightMatchingOptions {
  /** Most passes over all groups. Default 100. */
  readonly iterations?: number;
  /** Order of the groups in a pass, as indices into `spec.groups`; default drawn from `rng`. */
  readonly order?: (iteration: number) => readonly number[];
  /** Needed where no order is given. */
  readonly rng?: Rng;
  /** Where to start; default the identity. */
  readonly start?: Permutations;
  readonly signal?: AbortSignal;
  /** Called after each pass. */
  readonly onPass?: (pass: { readonly iteration: number; readonly gain: number }) => void;
}

export interface WeightMatch {
  /** Brings the second model into the order of the first. */
  readonly permutations: Readonly<Record<string, GroupPermutation>>;
  /** Passes that were made. */
  readonly passes: number;
}

/**
 * Permutes `b` so that its weights come closest to those of `a`: max Σ ⟨a, P(b)⟩ by one assignment per group in turn, until a pass gains nothing
 * (1e-12, as the authors' code). Every step solves its group exactly, so the value never falls; the end is a local optimum.
 * @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH, CONFIG_INVALID, ABORTED
 */
export function weightMatching(spec: PermutationSpec, a: Weights, b: Weights, options: WeightMatchingOptions = {}): WeightMatch {
  const { iterations = 100, rng, signal } = options;
  const order = options.order ?? (rng && ((k: number) => rng.split(`pass ${k}`).shuffle(spec.groups.map((_, i) => i))));
  if (!order) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] weight matching: give an order of groups or an rng to draw one");
  checkShapes(spec, a, b);
  const permutations: Record<string, GroupPermutation> = { ...identityPermutations(spec), ...options.start };
  const uses = usesByParam(spec);
  // A group's similarities depend on the order of the groups that it shares parameters with: where none has moved since, it is solved already.
  const neighbours = spec.groups.map((g) =>
    spec.groups.flatMap((h, i) => (h !== g && h.uses.some((u) => g.uses.some((v) => v.param === u.param)) ? [i] : [])),
  );
  const moves = spec.groups.map(() => 0);
  const seen = new Map<number, string>();
  let passes = 0;
  for (let gained = true; gained && passes < iterations; passes++) {
    gained = false;
    let gain = 0;
    for (const index of order(passes)) {
      throwIfAborted(signal, "[@lfm/reuse] weight matching");
      const group = spec.groups[index]!;
      const state = neighbours[index]!.map((i) => moves[i]).join();
      if (seen.get(index) === state) continue;
      seen.set(index, state);
      const similarity = weightSimilarity(group, a, b, uses, permutations);
      const before = matchedValue(group, similarity, permutations[group.id]!);
      const solved = solveGroup(group, similarity);
      const after = matchedValue(group, similarity, solved);
      gain += after - before;
      if (after > before + 1e-12) gained = true;
      // Where heads share keys the step is not exact: never take a worse one.
      if (after < before || isEqual(permutations[group.id]!, solved)) continue;
      permutations[group.id] = solved;
      moves[index]!++;
    }
    options.onPass?.({ iteration: passes, gain });
  }
  return { permutations, passes };
}

/** Σ over all parameters that the spec reaches of ⟨a, P(b)⟩, in f64. */
export function matchingValue(spec: PermutationSpec, a: Weights, b: Weights, permutations: Permutations): number {
  let value = 0;
  for (const [name, uses] of usesByParam(spec)) {
    const x = widenToF32(loadWeight(a[name]!)).data as Float32Array;
    const y = widenToF32(permuteTensor(loadWeight(b[name]!), uses, permutations)).data as Float32Array;
    for (let k = 0; k < x.length; k++) value += x[k]! * y[k]!;
  }
  return value;
}

function weightSimilarity(
  group: PermutationGroup,
  a: Weights,
  b: Weights,
  uses: ReturnType<typeof usesByParam>,
  permutations: Permutations,
): Similarity {
  const sizes = channelSizes(group);
  const out = Object.fromEntries(Object.entries(sizes).map(([c, n]) => [c, new Float64Array(n * n)]));
  for (const use of group.uses) {
    const n = sizes[use.channel]!;
    const moved = permuteTensor(loadWeight(b[use.param]!), uses.get(use.param)!, permutations, group);
    addInnerProducts(out[use.channel]!, n, unitRows(loadWeight(a[use.param]!), use, n), unitRows(moved, use, n));
  }
  return out;
}

function isEqual(a: GroupPermutation, b: GroupPermutation): boolean {
  return Object.entries(a).every(([channel, p]) => p.every((v, i) => v === b[channel]![i]));
}

function checkShapes(spec: PermutationSpec, a: Weights, b: Weights): void {
  for (const name of usesByParam(spec).keys()) {
    const [x, y] = [a[name], b[name]];
    if (!x || !y)
      throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] alignment: ${x ? "the second" : "the first"} model has no parameter "${name}"`);
    if (x.shape.length !== y.shape.length || x.shape.some((d, i) => d !== y.shape[i]))
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] alignment: "${name}" is [${x.shape}] in one model and [${y.shape}] in the other`, {
        hint: "models of unequal widths: ot-fusion",
      });
  }
}
