/**
 * Query likelihood (Ponte & Croft, SIGIR 1998; smoothing by Zhai & Lafferty, SIGIR 2001) as Lucene's LMDirichletSimilarity and LMJelinekMercerSimilarity
 * compute it: sums over the query's terms that a document has of logarithms of its smoothed probability over the collection's,
 * p(t) = (cf(t) + 1) / (tokens + 1).
 * What the logarithm of a document's length makes negative counts as 0.
 */
import { LfmError } from "@lfm/core";
import type { Hit } from "@lfm/data";
import type { QueryTerms } from "./bm25-index.js";
import type { Inverted } from "./inverted-index.js";
import { luceneLength } from "./lucene-score.js";
import { TopK } from "./top-k.js";

export type Smoothing =
  /** ln(1 + tf/(μ·p)) + ln(μ/(|d| + μ)), at least 0; Anserini's μ is 1000. */
  | { readonly kind: "dirichlet"; readonly mu: number }
  /** ln(1 + (1 − λ)·(tf/|d|) / (λ·p)); Anserini's λ is 0.1. */
  | { readonly kind: "jelinek-mercer"; readonly lambda: number };

export interface LikelihoodSearch {
  /** The k best passages that have a term of the query, best first; ties in the order of the collection. */
  search(query: QueryTerms, k: number): Hit[];
}

/** Scores of an inverted index by query likelihood. @throws {LfmError} CONFIG_INVALID for μ ≤ 0 or λ outside of 0..1 */
export function likelihoodSearch(inverted: Inverted, smoothing: Smoothing, lengths: "lucene" | "exact" = "lucene"): LikelihoodSearch {
  const f = Math.fround;
  if (smoothing.kind === "dirichlet" ? !(smoothing.mu > 0) : !(smoothing.lambda > 0 && smoothing.lambda <= 1))
    throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] query likelihood needs mu > 0 or lambda in 0..1, above 0");
  const { ids, terms, offsets, docs, freqs } = inverted;
  const stored = Float64Array.from(inverted.lengths, (length) => (lengths === "lucene" ? luceneLength(length) : length));
  const tokens = freqs.reduce((sum, freq) => sum + freq, 0);
  const numbers = new Map(terms.map((term, t) => [term, t]));
  // Parameters are f32 in Lucene, the rest is f64.
  const part: (freq: number, length: number, p: number) => number =
    smoothing.kind === "dirichlet"
      ? (
          (mu) => (freq, length, p) =>
            Math.log(1 + freq / (mu * p)) + Math.log(mu / (length + mu))
        )(f(smoothing.mu))
      : (
          (lambda) => (freq, length, p) =>
            Math.log(1 + (f(1 - lambda) * freq) / length / (lambda * p))
        )(f(smoothing.lambda));
  return {
    search: (query, k) => {
      const scores = new Float64Array(ids.length);
      const seen = new Set<number>();
      for (const [term, boost] of query) {
        const t = numbers.get(term);
        if (t === undefined) continue;
        let cf = 0;
        for (let i = offsets[t]!; i < offsets[t + 1]!; i++) cf += freqs[i]!;
        const p = (cf + 1) / (tokens + 1);
        for (let i = offsets[t]!; i < offsets[t + 1]!; i++) {
          const doc = docs[i]!;
          seen.add(doc);
          scores[doc]! += f(Math.max(0, boost * part(freqs[i]!, stored[doc]!, p)));
        }
      }
      const top = new TopK(Math.min(Math.max(0, k), ids.length));
      for (const doc of [...seen].sort((a, b) => a - b)) top.offer(doc, f(scores[doc]!));
      return top.hits(ids);
    },
  };
}
