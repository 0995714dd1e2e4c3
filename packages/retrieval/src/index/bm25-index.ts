/**
 * BM25 as Lucene ≥ 8 computes it: score(q, d) = Σ_t count_q(t) · idf(t) · tf / (tf + k1·(1 − b + b·|d|/avgdl)),
 * idf(t) = ln(1 + (N − df + ½)/(df + ½)), N the documents with at least one term. There is no factor (k1 + 1).
 * Intermediate values are rounded to f32 as there, so that ties and near-ties fall as Lucene's do.
 */
import { hostTensor, LfmError } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import { writeSafetensors } from "@lfm/formats";
import { type Analyzer, analyzerNamed, analyzerNames, englishAnalyzer } from "../text/analyzer.js";
import { passageText } from "../text-encoder.js";
import { luceneLength, termScore } from "./lucene-score.js";
import { maxScore, type Postings } from "./max-score.js";
import { openIndex, packStrings } from "./strings.js";

export interface Bm25Options {
  /** Saturation of the term frequency; 0.9 as Anserini. */
  readonly k1?: number;
  /** Weight of the document length, 0..1; 0.4 as Anserini. */
  readonly b?: number;
  /** "lucene" rounds document lengths down to one byte's worth, as Lucene does; "exact" keeps them. */
  readonly lengths?: "lucene" | "exact";
  readonly analyzer?: Analyzer;
}

export interface Bm25Index {
  readonly ids: readonly string[];
  readonly options: { readonly k1: number; readonly b: number; readonly lengths: "lucene" | "exact"; readonly analyzer: Analyzer["name"] };
  /** Number of distinct terms. */
  readonly terms: number;
  /** Bytes of postings, terms and ids as saved, without the file's header. */
  readonly bytes: number;
  /** The k best passages with a positive score, best first; ties in the order of the collection. */
  search(query: string, k: number): Hit[];
  /** Score of every passage, by number: the definition, without shortcuts. For checks. */
  scoreAll(query: string): Float64Array;
  /** One safetensors file, written beside and renamed. @throws {LfmError} FILE_IO */
  save(path: string): Promise<void>;
}

/** Builds the index. Passage ids must be distinct. @throws {LfmError} CONFIG_INVALID */
export function buildBm25(passages: readonly Passage[], options: Bm25Options = {}): Bm25Index {
  const analyzer = options.analyzer ?? englishAnalyzer();
  const ids = passages.map((p) => p.id);
  if (new Set(ids).size !== ids.length) {
    const twice = ids.find((id, i) => ids.indexOf(id) !== i);
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] passage id "${twice}" stands twice in the collection`);
  }
  const numbers = new Map<string, number>();
  const terms: string[] = [];
  const df: number[] = [];
  // (term, document, frequency) in the order of documents.
  const triples: number[] = [];
  const lengths = new Int32Array(passages.length);
  for (const [doc, passage] of passages.entries()) {
    const counts = new Map<number, number>();
    for (const term of analyzer.analyze(passageText(passage))) {
      let number = numbers.get(term);
      if (number === undefined) {
        number = terms.length;
        numbers.set(term, number);
        terms.push(term);
        df.push(0);
      }
      counts.set(number, (counts.get(number) ?? 0) + 1);
      lengths[doc]!++;
    }
    for (const [number, count] of counts) {
      df[number]!++;
      triples.push(number, doc, count);
    }
  }
  const offsets = new Int32Array(terms.length + 1);
  for (let t = 0; t < terms.length; t++) offsets[t + 1] = offsets[t]! + df[t]!;
  const next = offsets.slice(0, terms.length);
  const docs = new Int32Array(triples.length / 3);
  const freqs = new Int32Array(triples.length / 3);
  for (let i = 0; i < triples.length; i += 3) {
    const at = next[triples[i]!]!++;
    docs[at] = triples[i + 1]!;
    freqs[at] = triples[i + 2]!;
  }
  return assemble({ ids, terms, offsets, docs, freqs, lengths }, options, analyzer);
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
  const ids = file.strings("ids");
  const terms = file.strings("terms");
  const ints = (name: string, length?: number): Int32Array => file.tensor(name, "i32", length).data as Int32Array;
  const offsets = ints("offsets", terms.length + 1);
  const lengths = ints("lengths", ids.length);
  const docs = ints("docs", offsets.at(-1)!);
  const freqs = ints("freqs", docs.length);
  if (offsets[0] !== 0 || offsets.some((offset, t) => t > 0 && offset < offsets[t - 1]!)) throw file.broken("offsets do not grow");
  if (docs.some((doc) => doc < 0 || doc >= ids.length)) throw file.broken("a posting names a passage that is not there");
  return assemble({ ids, terms, offsets, docs, freqs, lengths }, { k1, b, lengths: lengthRule }, analyzerNamed(named));
}

interface Parts {
  readonly ids: readonly string[];
  readonly terms: readonly string[];
  readonly offsets: Int32Array;
  readonly docs: Int32Array;
  readonly freqs: Int32Array;
  readonly lengths: Int32Array;
}

function assemble(parts: Parts, options: Bm25Options, analyzer: Analyzer): Bm25Index {
  const { k1 = 0.9, b = 0.4, lengths: rule = "lucene" } = options;
  if (!(k1 >= 0) || !(b >= 0 && b <= 1))
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] bm25 needs k1 >= 0 and b in 0..1, got ${k1}, ${b}`);
  const { ids, terms, offsets, docs, freqs, lengths } = parts;
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
  const postingsOf = (query: string): Postings[] => {
    const counts = new Map<number, number>();
    for (const term of analyzer.analyze(query)) {
      const t = numbers.get(term);
      if (t !== undefined) counts.set(t, (counts.get(t) ?? 0) + 1);
    }
    return [...counts].map(([t, count]) => {
      const [from, to] = [offsets[t]!, offsets[t + 1]!];
      const weight = f(count * f(Math.log(1 + (filled - (to - from) + 0.5) / (to - from + 0.5))));
      return { docs, freqs, from, to, weight, bound: weight * best[t]! };
    });
  };
  const packed = { ids: packStrings(ids), terms: packStrings(terms) };
  const resolved = { k1, b, lengths: rule, analyzer: analyzer.name };
  return {
    ids,
    options: resolved,
    terms: terms.length,
    bytes: packed.ids.data.byteLength + packed.terms.data.byteLength + 4 * (offsets.length + 2 * docs.length + lengths.length),
    search: (query, k) => maxScore(postingsOf(query), inverse, k).hits(ids),
    scoreAll: (query) => {
      const scores = new Float64Array(ids.length);
      for (const { from, to, weight } of postingsOf(query)) {
        for (let p = from; p < to; p++) scores[docs[p]!]! += termScore(weight, freqs[p]!, inverse[docs[p]!]!);
      }
      return scores.map(f);
    },
    save: (path) =>
      writeSafetensors(
        path,
        {
          ...packed,
          offsets: hostTensor("i32", [offsets.length], offsets),
          docs: hostTensor("i32", [docs.length], docs),
          freqs: hostTensor("i32", [freqs.length], freqs),
          lengths: hostTensor("i32", [lengths.length], lengths),
        },
        { metadata: { "lfm.index": "bm25", options: JSON.stringify(resolved) } },
      ),
  };
}
