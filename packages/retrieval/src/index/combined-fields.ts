/**
 * BM25F (Zaragoza et al., TREC 2004; "simple BM25F" of Robertson & Zaragoza 2009) as Lucene's CombinedFieldQuery computes it: the fields of a passage are
 * one text in which a field of weight w stands w times. Frequencies and lengths are weighted sums; df is that of the field that has the most.
 */
import { LfmError } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import { type Analyzer, englishAnalyzer } from "../text/analyzer.js";
import { termsOf } from "./bm25-index.js";
import { type Inverted, invert } from "./inverted-index.js";
import { luceneLength, termScore } from "./lucene-score.js";
import { TopK } from "./top-k.js";

export interface Bm25fOptions {
  /** Weight of titles, at least 1; default 2. */
  readonly title?: number;
  /** Weight of texts, at least 1; default 1. */
  readonly text?: number;
  readonly k1?: number;
  readonly b?: number;
  readonly analyzer?: Analyzer;
}

export interface Bm25fIndex {
  readonly ids: readonly string[];
  /** Bytes of the postings of both fields. */
  readonly bytes: number;
  /** The k best passages that have a term of the query, best first; ties in the order of the collection. */
  search(query: string, k: number): Hit[];
}

interface Field {
  readonly inverted: Inverted;
  readonly numbers: ReadonlyMap<string, number>;
  readonly weight: number;
}

/** An index of titles and texts as two fields, in memory. @throws {LfmError} CONFIG_INVALID */
export function buildBm25f(passages: readonly Passage[], options: Bm25fOptions = {}): Bm25fIndex {
  const { title = 2, text = 1, k1 = 0.9, b = 0.4, analyzer = englishAnalyzer() } = options;
  if (!(title >= 1 && text >= 1))
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] bm25f: weights of fields are at least 1, got ${title}, ${text}`);
  const fieldOf = (weight: number, of: (passage: Passage) => string): Field => {
    const inverted = invert(passages, analyzer, of);
    return { inverted, weight, numbers: new Map(inverted.terms.map((term, t) => [term, t])) };
  };
  const fields = [fieldOf(title, (p) => p.title ?? ""), fieldOf(text, (p) => p.text)];
  const ids = passages.map((p) => p.id);
  const f = Math.fround;
  const filled = Math.max(...fields.map(({ inverted }) => inverted.lengths.reduce((n, length) => n + (length > 0 ? 1 : 0), 0)));
  const tokens = fields.reduce(
    (sum, { inverted, weight }) => Math.trunc(sum + weight * inverted.lengths.reduce((a, length) => a + length, 0)),
    0,
  );
  const average = f(tokens / Math.max(1, filled));
  const inverse = Float32Array.from(ids, (_, doc) => {
    const length = fields.reduce((sum, { inverted, weight }) => f(sum + f(weight * luceneLength(inverted.lengths[doc]!))), 0);
    return f(1 / f(f(k1) * f(f(1 - f(b)) + f(f(f(b) * luceneLength(Math.round(length))) / average))));
  });
  return {
    ids,
    bytes: fields.reduce(
      (sum, { inverted }) => sum + 4 * (inverted.offsets.length + 2 * inverted.docs.length + inverted.lengths.length),
      0,
    ),
    search: (query, k) => {
      const scores = new Map<number, number>();
      for (const [term, boost] of termsOf(analyzer, query)) {
        const { freqs, df } = postings(fields, term);
        const weight = f(f(boost) * f(Math.log(1 + (filled - df + 0.5) / (df + 0.5))));
        for (const [doc, freq] of freqs) scores.set(doc, (scores.get(doc) ?? 0) + termScore(weight, freq, inverse[doc]!));
      }
      const top = new TopK(Math.min(Math.max(0, k), ids.length));
      for (const [doc, score] of scores) top.offer(doc, f(score));
      return top.hits(ids);
    },
  };
}

/** Weighted frequencies of a term by passage, and the most passages that a field has it in. */
function postings(fields: readonly Field[], term: string): { readonly freqs: ReadonlyMap<number, number>; readonly df: number } {
  const freqs = new Map<number, number>();
  let df = 0;
  for (const { inverted, numbers, weight } of fields) {
    const t = numbers.get(term);
    if (t === undefined) continue;
    const [from, to] = [inverted.offsets[t]!, inverted.offsets[t + 1]!];
    df = Math.max(df, to - from);
    for (let p = from; p < to; p++) {
      const doc = inverted.docs[p]!;
      freqs.set(doc, Math.fround((freqs.get(doc) ?? 0) + Math.fround(weight * inverted.freqs[p]!)));
    }
  }
  return { freqs, df };
}
