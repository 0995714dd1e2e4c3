import { type HostTensor, hostTensor, LfmError } from "@lfm/core";
import type { Passage } from "@lfm/data";
import type { Analyzer } from "../text/analyzer.js";
import { type IndexFile, packStrings } from "./strings.js";

/** Which terms stand where how often: postings by term, documents ascending. */
export interface Inverted {
  readonly ids: readonly string[];
  readonly terms: readonly string[];
  /** i32[terms + 1]: where each term's postings begin. */
  readonly offsets: Int32Array;
  readonly docs: Int32Array;
  readonly freqs: Int32Array;
  /** Terms of each document. */
  readonly lengths: Int32Array;
  /** i32[Σ freqs]: where in its document each occurrence stands, posting by posting, ascending; words that are left out count. Absent where not kept. */
  readonly positions?: Int32Array;
}

/**
 * @param textOf what of a passage is indexed
 * @param keepPositions whether it is kept where each term stands, for phrases
 * @throws {LfmError} CONFIG_INVALID for an id that stands twice
 */
export function invert(
  passages: readonly Passage[],
  analyzer: Analyzer,
  textOf: (passage: Passage) => string,
  keepPositions = false,
): Inverted {
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
  // By triple.
  const places: (readonly number[])[] = [];
  for (const [doc, passage] of passages.entries()) {
    const counts = new Map<number, number>();
    const standing = new Map<number, number[]>();
    for (const [place, term] of placesOf(analyzer, textOf(passage)).entries()) {
      if (term === "") continue;
      let number = numbers.get(term);
      if (number === undefined) {
        number = terms.length;
        numbers.set(term, number);
        terms.push(term);
        df.push(0);
      }
      counts.set(number, (counts.get(number) ?? 0) + 1);
      if (keepPositions) {
        const own = standing.get(number);
        if (own) own.push(place);
        else standing.set(number, [place]);
      }
      lengths[doc]!++;
    }
    for (const [number, count] of counts) {
      df[number]!++;
      triples.push(number, doc, count);
      if (keepPositions) places.push(standing.get(number)!);
    }
  }
  const offsets = new Int32Array(terms.length + 1);
  for (let t = 0; t < terms.length; t++) offsets[t + 1] = offsets[t]! + df[t]!;
  const next = offsets.slice(0, terms.length);
  const docs = new Int32Array(triples.length / 3);
  const freqs = new Int32Array(triples.length / 3);
  const tripleOf = new Int32Array(triples.length / 3);
  for (let i = 0; i < triples.length; i += 3) {
    const at = next[triples[i]!]!++;
    docs[at] = triples[i + 1]!;
    freqs[at] = triples[i + 2]!;
    tripleOf[at] = i / 3;
  }
  const inverted = { ids, terms, offsets, docs, freqs, lengths };
  if (!keepPositions) return inverted;
  const starts = positionStarts(inverted);
  const positions = new Int32Array(starts.at(-1)!);
  for (const [at, triple] of tripleOf.entries()) positions.set(places[triple]!, starts[at]!);
  return { ...inverted, positions };
}

/** The term of each word of a text, "" for one that is left out. */
export function placesOf(analyzer: Analyzer, text: string): string[] {
  return analyzer.places?.(text) ?? analyzer.analyze(text);
}

/** i32[postings + 1]: where the positions of each posting begin. */
export function positionStarts({ freqs }: Pick<Inverted, "freqs">): Int32Array {
  const starts = new Int32Array(freqs.length + 1);
  for (let p = 0; p < freqs.length; p++) starts[p + 1] = starts[p]! + freqs[p]!;
  return starts;
}

/** The tensors of a saved inverted index. */
export function invertedTensors({ ids, terms, offsets, docs, freqs, lengths, positions }: Inverted): Readonly<Record<string, HostTensor>> {
  const ints = (values: Int32Array): HostTensor => hostTensor("i32", [values.length], values);
  return {
    ids: packStrings(ids),
    terms: packStrings(terms),
    offsets: ints(offsets),
    docs: ints(docs),
    freqs: ints(freqs),
    lengths: ints(lengths),
    ...(positions ? { positions: ints(positions) } : {}),
  };
}

/** @throws {LfmError} FILE_FORMAT for tensors that contradict each other */
export function readInverted(file: IndexFile): Inverted {
  const ids = file.strings("ids");
  const terms = file.strings("terms");
  const ints = (name: string, length?: number): Int32Array => file.tensor(name, "i32", length).data as Int32Array;
  const offsets = ints("offsets", terms.length + 1);
  const lengths = ints("lengths", ids.length);
  const docs = ints("docs", offsets.at(-1)!);
  const freqs = ints("freqs", docs.length);
  if (offsets[0] !== 0 || offsets.some((offset, t) => t > 0 && offset < offsets[t - 1]!)) throw file.broken("offsets do not grow");
  if (docs.some((doc) => doc < 0 || doc >= ids.length)) throw file.broken("a posting names a passage that is not there");
  const inverted = { ids, terms, offsets, docs, freqs, lengths };
  if (!file.has("positions")) return inverted;
  return { ...inverted, positions: ints("positions", positionStarts(inverted).at(-1)!) };
}

/** The terms of each document with their frequencies: the inverted index the other way round. */
export interface Forward {
  /** i32[documents + 1] */
  readonly starts: Int32Array;
  readonly terms: Int32Array;
  readonly freqs: Int32Array;
}

export function forwardOf({ ids, offsets, docs, freqs }: Inverted): Forward {
  const starts = new Int32Array(ids.length + 1);
  for (const doc of docs) starts[doc + 1]!++;
  for (let d = 0; d < ids.length; d++) starts[d + 1]! += starts[d]!;
  const next = starts.slice(0, ids.length);
  const out = { starts, terms: new Int32Array(docs.length), freqs: new Int32Array(docs.length) };
  for (let t = 0; t + 1 < offsets.length; t++) {
    for (let p = offsets[t]!; p < offsets[t + 1]!; p++) {
      const at = next[docs[p]!]!++;
      out.terms[at] = t;
      out.freqs[at] = freqs[p]!;
    }
  }
  return out;
}
