import { solveAssignment } from "@lfm/core/linalg";
import { channelSizes, type GroupPermutation, type HeadGroup, type PermutationGroup } from "./permutation-spec.js";

/** How alike the units of two models are: f64[n, n] of each channel, rows of the model that stays, columns of the one that moves. */
export type Similarity = Readonly<Record<string, Float64Array>>;

/** Sum of similarities of what a permutation brings together. */
export function matchedValue(group: PermutationGroup, similarity: Similarity, permutation: GroupPermutation): number {
  let value = 0;
  for (const [channel, n] of Object.entries(channelSizes(group))) {
    const [s, p] = [similarity[channel]!, permutation[channel]!];
    for (let i = 0; i < n; i++) value += s[i * n + p[i]!]!;
  }
  return value;
}

/**
 * The permutation with the largest matched value. Exact for units and for heads with keys of their own (an assignment of heads whose entries
 * are the values of the assignments inside them); where query heads share a key, heads and dimensions are solved in turn.
 */
export function solveGroup(group: PermutationGroup, similarity: Similarity): GroupPermutation {
  if (group.kind === "units") return { units: solveAssignment(similarity.units!, group.size, group.size, { maximize: true }).columns };
  const { kvHeads } = group;
  const values = new Float64Array(kvHeads * kvHeads);
  const pairs: Pair[] = [];
  for (let i = 0; i < kvHeads; i++) {
    for (let j = 0; j < kvHeads; j++) {
      const pair = pairHeads(group, similarity, i, j);
      values[i * kvHeads + j] = pair.value;
      pairs.push(pair);
    }
  }
  const { columns } = solveAssignment(values, kvHeads, kvHeads, { maximize: true });
  return spellHeads(
    group,
    Array.from(columns, (j, i) => pairs[i * kvHeads + j]!),
  );
}

/** What comes to the place of one key/value head. */
export interface HeadMatch {
  /** The head that comes here. */
  readonly with: number;
  /** Which of its query heads comes to each place. */
  readonly queries: Int32Array;
  /** Order of the dimensions of q and k, and of v and o. */
  readonly qk: Int32Array;
  readonly v: Int32Array;
}

interface Pair extends HeadMatch {
  readonly value: number;
}

function pairHeads(group: HeadGroup, similarity: Similarity, i: number, j: number): Pair {
  const { queryHeads: r, headDim: d, movesQk } = group;
  const still = Int32Array.from({ length: d }, (_, t) => t);
  const own = (channel: string): Float64Array => cut(similarity[channel]!, group.kvHeads * d, i * d, j * d, d);
  const shared = (channel: string, s: number, t: number): Float64Array =>
    cut(similarity[channel]!, group.kvHeads * r * d, (i * r + s) * d, (j * r + t) * d, d);
  const [k, v] = [own("k"), own("v")];
  const solve = (scores: Float64Array): Int32Array => solveAssignment(scores, d, d, { maximize: true }).columns;
  const along = (scores: Float64Array, p: Int32Array): number => p.reduce((sum, c, row) => sum + scores[row * d + c]!, 0);
  const blocks = (channel: string): Float64Array[] => Array.from({ length: r * r }, (_, st) => shared(channel, Math.floor(st / r), st % r));
  const [q, o] = [blocks("q"), blocks("o")];
  // Query heads start with the partners that would suit them best if each could order its dimensions alone.
  const free = Float64Array.from(
    { length: r * r },
    (_, st) => along(o[st]!, solve(o[st]!)) + along(q[st]!, movesQk ? solve(q[st]!) : still),
  );
  let queries = solveAssignment(free, r, r, { maximize: true }).columns;
  let best: Pair | undefined;
  for (;;) {
    const pick = (all: Float64Array[]): Float64Array[] => Array.from(queries, (t, s) => all[s * r + t]!);
    const qk = movesQk ? solve(sum([k, ...pick(q)])) : still;
    const vDims = solve(sum([v, ...pick(o)]));
    const value =
      along(k, qk) + along(v, vDims) + pick(q).reduce((a, m) => a + along(m, qk), 0) + pick(o).reduce((a, m) => a + along(m, vDims), 0);
    if (best && value <= best.value + 1e-12 * Math.abs(best.value)) return best;
    best = { value, with: j, queries, qk, v: vDims };
    if (r === 1) return best;
    const fit = Float64Array.from({ length: r * r }, (_, st) => along(q[st]!, qk) + along(o[st]!, vDims));
    queries = solveAssignment(fit, r, r, { maximize: true }).columns;
  }
}

/** Block [d, d] of a matrix with rows of length `n`. */
function cut(m: Float64Array, n: number, row: number, column: number, d: number): Float64Array {
  const out = new Float64Array(d * d);
  for (let i = 0; i < d; i++) out.set(m.subarray((row + i) * n + column, (row + i) * n + column + d), i * d);
  return out;
}

function sum(parts: readonly Float64Array[]): Float64Array {
  const out = parts[0]!.slice();
  for (const part of parts.slice(1)) for (let k = 0; k < out.length; k++) out[k]! += part[k]!;
  return out;
}

/** Heads and dimensions written out as positions of each channel. */
export function spellHeads(group: HeadGroup, heads: readonly HeadMatch[]): GroupPermutation {
  const { queryHeads: r, headDim: d } = group;
  const sizes = channelSizes(group);
  const out = Object.fromEntries(Object.entries(sizes).map(([c, n]) => [c, new Int32Array(n)]));
  for (const [i, head] of heads.entries()) {
    for (let t = 0; t < d; t++) {
      out.k![i * d + t] = head.with * d + head.qk[t]!;
      out.v![i * d + t] = head.with * d + head.v[t]!;
      for (let s = 0; s < r; s++) {
        const from = (head.with * r + head.queries[s]!) * d;
        out.q![(i * r + s) * d + t] = from + head.qk[t]!;
        out.o![(i * r + s) * d + t] = from + head.v[t]!;
      }
    }
  }
  return out;
}
