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
}

/** @param textOf what of a passage is indexed @throws {LfmError} CONFIG_INVALID for an id that stands twice */
export function invert(passages: readonly Passage[], analyzer: Analyzer, textOf: (passage: Passage) => string): Inverted {
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
    for (const term of analyzer.analyze(textOf(passage))) {
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
  return { ids, terms, offsets, docs, freqs, lengths };
}

/** The tensors of a saved inverted index. */
export function invertedTensors({ ids, terms, offsets, docs, freqs, lengths }: Inverted): Readonly<Record<string, HostTensor>> {
  const ints = (values: Int32Array): HostTensor => hostTensor("i32", [values.length], values);
  return {
    ids: packStrings(ids),
    terms: packStrings(terms),
    offsets: ints(offsets),
    docs: ints(docs),
    freqs: ints(freqs),
    lengths: ints(lengths),
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
  return { ids, terms, offsets, docs, freqs, lengths };
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
