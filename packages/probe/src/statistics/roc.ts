import { LfmError } from "@lfm/core";
import { type Share, shareOf } from "./binomial.js";

/** Scores of an attack: the higher, the more it takes an example for a member. */
export interface AttackScores {
  readonly members: ArrayLike<number>;
  readonly nonMembers: ArrayLike<number>;
}

/** A number with the interval that it lies in. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** How many members are found when at most a share of the others is taken for members. */
export interface TprAtFpr {
  /** The share of non-members that was allowed. */
  readonly fpr: number;
  /** Members found, with its Clopper–Pearson interval; the threshold was read from the non-members at hand and counts as given. */
  readonly tpr: Share;
  /** The share of non-members that the threshold takes for members: at most {@link fpr}, the next count below it. */
  readonly reached: Share;
  /** Examples that score this much or more are taken for members. */
  readonly threshold: number;
}

/** Non-members that a rate of false positives has to leave over before a threshold for it can be read: with fewer it would be one example's chance. */
const FEWEST = 3;

/** Whether there are enough non-members for a rate: three of them must be allowed, at 0.1 % that is 3,000. */
export function allowsFpr({ nonMembers }: Pick<AttackScores, "nonMembers">, fpr: number): boolean {
  return nonMembers.length * fpr >= FEWEST - 1e-9;
}

/**
 * The share of members with a score that at most a share `fpr` of the non-members reach. Non-members of equal scores count together.
 * @throws {LfmError} CONFIG_INVALID for a side without examples, a score that is no number, or a rate outside 0..1
 */
export function tprAtFpr(scores: AttackScores, fpr: number): TprAtFpr {
  if (!(fpr >= 0 && fpr <= 1)) throw new LfmError("CONFIG_INVALID", `[@lfm/probe] a false positive rate of ${fpr} is outside 0..1`);
  const { members, nonMembers } = sorted(scores);
  const allowed = Math.floor(nonMembers.length * fpr + 1e-9);
  // With all allowed every threshold will do; else the lowest score that lies above the first non-member too many.
  const over = allowed >= nonMembers.length ? Number.NEGATIVE_INFINITY : nonMembers[nonMembers.length - 1 - allowed]!;
  const found = countAbove(members, over);
  const wrong = countAbove(nonMembers, over);
  const at = Math.min(firstAbove(members, over), firstAbove(nonMembers, over));
  return { fpr, tpr: shareOf(found, members.length), reached: shareOf(wrong, nonMembers.length), threshold: at };
}

/**
 * The probability that a member scores higher than a non-member, ties counting half, with DeLong's interval (Biometrics 44, 1988); it has no width
 * where the two are apart.
 * @throws {LfmError} CONFIG_INVALID as {@link tprAtFpr}
 */
export function areaUnderRoc(scores: AttackScores, z = 1.959963984540054): Interval {
  const { members, nonMembers } = sorted(scores);
  const [below, above] = [placements(members, nonMembers), placements(nonMembers, members)];
  const value = mean(below);
  const spread = Math.sqrt(varianceOf(below) / members.length + varianceOf(above) / nonMembers.length);
  return { value, low: Math.max(0, value - z * spread), high: Math.min(1, value + z * spread) };
}

/** A point of the curve: share of non-members and of members from a threshold upwards. */
export type RocPoint = readonly [fpr: number, tpr: number];

/**
 * The curve from (0, 0) to (1, 1), a point for each threshold.
 * @param most points at most: those whose logarithms of the false positive rate lie even are kept, for the left end is what matters
 * @throws {LfmError} CONFIG_INVALID as {@link tprAtFpr}
 */
export function rocCurve(scores: AttackScores, most = 200): readonly RocPoint[] {
  const { members, nonMembers } = sorted(scores);
  const all = members.length + nonMembers.length <= most;
  const least = Math.log(nonMembers.length);
  // Of the points of a cell the last stays, which has found the most.
  const points = new Map<number, RocPoint>();
  let [i, j] = [members.length - 1, nonMembers.length - 1];
  while (i >= 0 || j >= 0) {
    const at = Math.max(i >= 0 ? members[i]! : Number.NEGATIVE_INFINITY, j >= 0 ? nonMembers[j]! : Number.NEGATIVE_INFINITY);
    while (i >= 0 && members[i] === at) i--;
    while (j >= 0 && nonMembers[j] === at) j--;
    const [found, wrong] = [members.length - 1 - i, nonMembers.length - 1 - j];
    const cell = wrong === 0 ? 0 : 1 + Math.round((Math.log(wrong) / Math.max(least, 1e-9)) * (most - 3));
    points.set(all ? points.size : cell, [wrong / nonMembers.length, found / members.length]);
  }
  return [[0, 0], ...points.values()];
}

function sorted({ members, nonMembers }: AttackScores): { readonly members: Float64Array; readonly nonMembers: Float64Array } {
  const order = (name: string, values: ArrayLike<number>): Float64Array => {
    if (values.length === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/probe] there are no ${name} to tell apart`);
    const own = new Float64Array(values);
    if (own.some(Number.isNaN)) throw new LfmError("NUMERIC_DIVERGED", `[@lfm/probe] a score of the ${name} is no number`);
    return own.sort();
  };
  return { members: order("members", members), nonMembers: order("non-members", nonMembers) };
}

/** Of each value the share of others below it, ties counting half. Both ascending. */
function placements(values: Float64Array, others: Float64Array): Float64Array {
  let [below, through] = [0, 0];
  return values.map((v) => {
    while (below < others.length && others[below]! < v) below++;
    through = Math.max(through, below);
    while (through < others.length && others[through]! <= v) through++;
    return (below + (through - below) / 2) / others.length;
  });
}

function countAbove(ascending: Float64Array, value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! > value || value === Number.NEGATIVE_INFINITY) high = middle;
    else low = middle + 1;
  }
  return ascending.length - low;
}

/** The lowest value above; infinity where there is none. */
function firstAbove(ascending: Float64Array, value: number): number {
  return ascending[ascending.length - countAbove(ascending, value)] ?? Number.POSITIVE_INFINITY;
}

function mean(values: Float64Array): number {
  let sum = 0;
  for (const v of values) sum += v;
  return sum / values.length;
}

/** Unbiased; 0 of a single value. */
function varianceOf(values: Float64Array): number {
  if (values.length < 2) return 0;
  const m = mean(values);
  let sum = 0;
  for (const v of values) sum += (v - m) ** 2;
  return sum / (values.length - 1);
}
