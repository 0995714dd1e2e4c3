import { termScore } from "./lucene-score.js";
import { TopK } from "./top-k.js";

/** One term of a query: its postings (documents ascending) in a slice of shared arrays. */
export interface Postings {
  readonly docs: Int32Array;
  readonly freqs: Int32Array;
  readonly from: number;
  readonly to: number;
  /** Query weight: count · idf. */
  readonly weight: number;
  /** No document gets more than this from the term. */
  readonly bound: number;
}

/** Room for the rounding of sums: a bound may be short by this share, never more. */
const SLACK = 1 + 1e-6;

/**
 * Document-at-a-time evaluation that skips what cannot enter the best k (MaxScore; Turtle & Flood 1995): terms whose bounds together
 * stay under the k-th best score so far never propose a document, they are only looked up for documents that others propose.
 * @param inverse f32[documents]: 1 / (k1·(1 − b + b·|d|/avgdl))
 */
export function maxScore(terms: readonly Postings[], inverse: Float32Array, k: number): TopK {
  const top = new TopK(k);
  if (k <= 0) return top;
  const lists = [...terms].sort((a, b) => a.bound - b.bound);
  const n = lists.length;
  const at = lists.map((list) => list.from);
  const upTo: number[] = [];
  for (const [i, list] of lists.entries()) upTo.push(list.bound * SLACK + (i > 0 ? upTo[i - 1]! : 0));
  let essential = 0;
  for (;;) {
    let doc = Number.POSITIVE_INFINITY;
    for (let i = essential; i < n; i++) {
      const list = lists[i]!;
      if (at[i]! < list.to && list.docs[at[i]!]! < doc) doc = list.docs[at[i]!]!;
    }
    if (doc === Number.POSITIVE_INFINITY) return top;
    let score = 0;
    const norm = inverse[doc]!;
    for (let i = essential; i < n; i++) {
      const list = lists[i]!;
      const p = at[i]!;
      if (p < list.to && list.docs[p] === doc) {
        score += termScore(list.weight, list.freqs[p]!, norm);
        at[i] = p + 1;
      }
    }
    for (let i = essential - 1; i >= 0; i--) {
      if (score * SLACK + upTo[i]! <= top.threshold) break;
      const list = lists[i]!;
      const p = advance(list, at[i]!, doc);
      at[i] = p;
      if (p < list.to && list.docs[p] === doc) score += termScore(list.weight, list.freqs[p]!, norm);
    }
    if (top.offer(doc, Math.fround(score))) while (essential < n && upTo[essential]! <= top.threshold) essential++;
  }
}

/** First posting at or behind `p` whose document is ≥ `doc`: doubling steps, then halving. */
function advance(list: Postings, p: number, doc: number): number {
  const { docs, to } = list;
  if (p >= to || docs[p]! >= doc) return p;
  let low = p;
  let step = 1;
  while (low + step < to && docs[low + step]! < doc) {
    low += step;
    step *= 2;
  }
  let high = Math.min(to, low + step);
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (docs[middle]! < doc) low = middle;
    else high = middle;
  }
  return high;
}
