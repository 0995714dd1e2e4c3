import { LfmError } from "@lfm/core";
import type { Inverted } from "./inverted-index.js";

/** A word of a phrase: its number, undefined for one that no document has, and where in the phrase it stands. */
export interface PhraseWord {
  readonly number: number | undefined;
  readonly place: number;
}

/** Documents, ascending, with how often the phrase stands in each. */
export interface PhrasePostings {
  readonly docs: Int32Array;
  readonly freqs: Int32Array;
}

/**
 * Where words stand at the distances that they have in a phrase; occurrences may overlap.
 * @param starts where the positions of each posting begin
 * @throws {LfmError} CAPABILITY_MISSING for an index that does not know where its terms stand
 */
export function findPhrase(inverted: Inverted, starts: Int32Array, phrase: readonly PhraseWord[]): PhrasePostings {
  const { docs, offsets, positions } = inverted;
  if (!positions)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/retrieval] this index does not know where its words stand: it finds no phrases", {
      hint: "build it with positions: lfm index … --overwrite, or buildBm25(passages, { positions: true })",
    });
  const found: PhrasePostings = { docs: new Int32Array(0), freqs: new Int32Array(0) };
  const words = phrase.flatMap(({ number, place }) => (number === undefined ? [] : [{ number, place }]));
  if (words.length < phrase.length || words.length === 0) return found;
  // The rarest word proposes, the others are looked up.
  const count = (t: number): number => offsets[t + 1]! - offsets[t]!;
  const [rarest, ...others] = words.toSorted((a, b) => count(a.number) - count(b.number));
  const at = others.map(({ number }) => offsets[number]!);
  const hits: [number, number][] = [];
  for (let p = offsets[rarest!.number]!; p < offsets[rarest!.number + 1]!; p++) {
    const doc = docs[p]!;
    const postings = others.map(({ number }, i) => {
      while (at[i]! < offsets[number + 1]! && docs[at[i]!]! < doc) at[i]!++;
      return at[i]! < offsets[number + 1]! && docs[at[i]!] === doc ? at[i]! : -1;
    });
    if (postings.includes(-1)) continue;
    const standing = postings.map((q) => new Set(positions.subarray(starts[q], starts[q + 1])));
    const first = positions.subarray(starts[p], starts[p + 1]);
    const freq = first.filter((place) => others.every((o, i) => standing[i]!.has(place + o.place - rarest!.place))).length;
    if (freq > 0) hits.push([doc, freq]);
  }
  return { docs: Int32Array.from(hits, ([doc]) => doc), freqs: Int32Array.from(hits, ([, freq]) => freq) };
}
