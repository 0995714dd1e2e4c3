/**
 * BM25 as Lucene ≥ 8 computes it: score(q, d) = Σ_t count_q(t) · idf(t) · tf / (tf + k1·(1 − b + b·|d|/avgdl)),
 * idf(t) = ln(1 + (N − df + ½)/(df + ½)), N the documents with at least one term. There is no factor (k1 + 1).
 * Intermediate values are rounded to f32 as there, so that ties and near-ties fall as Lucene's do.
 */
import { LfmError } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import { writeSafetensors } from "@lfm/formats";
import { type Analyzer, analyzerNamed, analyzerNames, englishAnalyzer } from "../text/analyzer.js";
import { passageText } from "../text-encoder.js";
import { type Inverted, invert, invertedTensors, placesOf, positionStarts, readInverted } from "./inverted-index.js";
import { luceneLength, termScore } from "./lucene-score.js";
import { maxScore, type Postings } from "./max-score.js";
import { findPhrase } from "./phrase.js";
import { beginning, parseQuery } from "./query-syntax.js";
import { openIndex } from "./strings.js";

export interface Bm25Options {
  /** Saturation of the term frequency; 0.9 as Anserini. */
  readonly k1?: number;
  /** Weight of the document length, 0..1; 0.4 as Anserini. */
  readonly b?: number;
  /** "lucene" rounds document lengths down to one byte's worth, as Lucene does; "exact" keeps them. */
  readonly lengths?: "lucene" | "exact";
  readonly analyzer?: Analyzer;
  /** Keeps where each term stands, so that phrases can be asked for; default false. */
  readonly positions?: boolean;
}

/** Terms as an analyzer makes them, with what each counts. */
export type QueryTerms = ReadonlyMap<string, number>;

export interface Bm25Index {
  readonly ids: readonly string[];
  readonly options: { readonly k1: number; readonly b: number; readonly lengths: "lucene" | "exact"; readonly analyzer: Analyzer["name"] };
  /** Number of distinct terms. */
  readonly terms: number;
  /** Bytes of postings, terms and ids as saved, without the file's header. */
  readonly bytes: number;
  /** Which terms stand where: what other scores are made of. */
  readonly inverted: Inverted;
  /** The terms of a query with how often each stands in it. */
  analyze(query: string): QueryTerms;
  /** The k best passages with a positive score, best first; ties in the order of the collection. */
  search(query: string | QueryTerms, k: number): Hit[];
  /**
   * The same for a query with phrases ("…") and beginnings of words (word*), as {@link parseQuery} reads it. Parts add up, as Lucene's do without an
   * operator: a phrase counts as a word that is as rare as its words together (PhraseQuery), a beginning as all the terms that have it, each by itself.
   * Beginnings are compared with terms as they are indexed: with stems, where there are stems.
   * @throws {LfmError} CAPABILITY_MISSING for a phrase where positions were not kept
   */
  query(query: string, k: number): Hit[];
  /** Score of every passage, by number: the definition, without shortcuts. For checks. */
  scoreAll(query: string): Float64Array;
  /** One safetensors file, written beside and renamed. @throws {LfmError} FILE_IO */
  save(path: string): Promise<void>;
}

/** Builds the index. Passage ids must be distinct. @throws {LfmError} CONFIG_INVALID */
export function buildBm25(passages: readonly Passage[], options: Bm25Options = {}): Bm25Index {
  const analyzer = options.analyzer ?? englishAnalyzer();
  return assemble(invert(passages, analyzer, passageText, options.positions ?? false), options, analyzer);
}

/** Opens a saved index. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function loadBm25(path: string): Bm25Index {
  const file = openIndex(path, "bm25");
  const { k1, b, lengths: lengthRule, analyzer } = file.options;
  if (typeof k1 !== "number" || typeof b !== "number" || (lengthRule !== "lucene" && lengthRule !== "exact")) {
    throw file.broken("the options lack k1, b or lengths");
  }
  const named = analyzerNames.find((name) => name === analyzer);
  if (named === undefined) throw file.broken(`unknown analyzer "${String(analyzer)}"`);
  return assemble(readInverted(file), { k1, b, lengths: lengthRule }, analyzerNamed(named));
}

function assemble(inverted: Inverted, options: Bm25Options, analyzer: Analyzer): Bm25Index {
  const { k1 = 0.9, b = 0.4, lengths: rule = "lucene" } = options;
  if (!(k1 >= 0) || !(b >= 0 && b <= 1))
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] bm25 needs k1 >= 0 and b in 0..1, got ${k1}, ${b}`);
  const { ids, terms, offsets, docs, freqs, lengths } = inverted;
  const f = Math.fround;
  const filled = lengths.reduce((n, length) => n + (length > 0 ? 1 : 0), 0);
  const average = f(lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, filled));
  // 1 / (k1·(1 − b + b·|d|/avgdl)) of each passage; k1 = 0 makes every occurrence count as one.
  const inverse = Float32Array.from(lengths, (length) => {
    const stored = rule === "lucene" ? luceneLength(length) : length;
    return f(1 / f(f(k1) * f(f(1 - f(b)) + f(f(f(b) * stored) / average))));
  });
  const numbers = new Map(terms.map((term, i) => [term, i]));
  // Largest tf / (tf + norm) of each term, written as 1 − 1/(1 + tf·inverse) as Lucene has it.
  const best = new Float64Array(terms.length);
  for (let t = 0; t < terms.length; t++) {
    for (let p = offsets[t]!; p < offsets[t + 1]!; p++) {
      const part = 1 - 1 / (1 + freqs[p]! * inverse[docs[p]!]!);
      if (part > best[t]!) best[t] = part;
    }
  }
  const idf = (df: number): number => Math.log(1 + (filled - df + 0.5) / (df + 0.5));
  const postingsOf = (weights: QueryTerms): Postings[] =>
    [...weights].flatMap(([term, boost]) => {
      const t = numbers.get(term);
      if (t === undefined || boost === 0) return [];
      const [from, to] = [offsets[t]!, offsets[t + 1]!];
      const weight = f(f(boost) * f(idf(to - from)));
      return [{ docs, freqs, from, to, weight, bound: weight * best[t]! }];
    });
  let starts: Int32Array | undefined;
  const partsOf = (query: string): Postings[] =>
    parseQuery(query).flatMap(({ kind, text }) => {
      if (kind === "words") return postingsOf(termsOf(analyzer, text));
      if (kind === "beginning") return postingsOf(new Map(beginning(terms, text).map((term) => [term, 1])));
      const phrase = placesOf(analyzer, text);
      const numbered = phrase.flatMap((term, place) => (term === "" ? [] : [{ number: numbers.get(term), place }]));
      if (numbered.length < 2) return postingsOf(termsOf(analyzer, text));
      starts ??= positionStarts(inverted);
      const found = findPhrase(inverted, starts, numbered);
      const weight = f(numbered.reduce((sum, { number: t }) => sum + (t === undefined ? 0 : idf(offsets[t + 1]! - offsets[t]!)), 0));
      const most = found.docs.reduce((part, doc, i) => Math.max(part, 1 - 1 / (1 + found.freqs[i]! * inverse[doc]!)), 0);
      return [{ ...found, from: 0, to: found.docs.length, weight, bound: weight * most }];
    });
  const tensors = invertedTensors(inverted);
  const resolved = { k1, b, lengths: rule, analyzer: analyzer.name };
  return {
    ids,
    options: resolved,
    terms: terms.length,
    inverted,
    bytes: Object.values(tensors).reduce((sum, { data }) => sum + data.byteLength, 0),
    analyze: (query) => termsOf(analyzer, query),
    search: (query, k) => maxScore(postingsOf(typeof query === "string" ? termsOf(analyzer, query) : query), inverse, k).hits(ids),
    query: (query, k) => maxScore(partsOf(query), inverse, k).hits(ids),
    scoreAll: (query) => {
      const scores = new Float64Array(ids.length);
      for (const { from, to, weight } of postingsOf(termsOf(analyzer, query))) {
        for (let p = from; p < to; p++) scores[docs[p]!]! += termScore(weight, freqs[p]!, inverse[docs[p]!]!);
      }
      return scores.map(f);
    },
    save: (path) => writeSafetensors(path, tensors, { metadata: { "lfm.index": "bm25", options: JSON.stringify(resolved) } }),
  };
}

/** The terms of a text with how often each stands in it. */
export function termsOf(analyzer: Analyzer, query: string): QueryTerms {
  const counts = new Map<string, number>();
  for (const term of analyzer.analyze(query)) counts.set(term, (counts.get(term) ?? 0) + 1);
  return counts;
}
