import { type HostTensor, LfmError } from "@lfm/core";
import type { Hit } from "@lfm/data";
import { TopK } from "../index/top-k.js";
import { toUnitLength } from "./metric.js";
import { Area, VectorMemory } from "./vector-memory.js";

/** Passages as the vectors of their tokens. */
export interface LateIndex {
  readonly dimension: number;
  readonly ids: readonly string[];
  /** @param tokens f32[n, dimension], n of 1 or more @throws {LfmError} SHAPE_MISMATCH, CONFIG_INVALID for an id that is there already, NUMERIC_DIVERGED */
  add(id: string, tokens: HostTensor): void;
  /**
   * The k best passages for the tokens of a query. @param tokens f32[q, dimension] @param candidates ids to compare alone, e.g. what a faster search found
   * @throws {LfmError} SHAPE_MISMATCH, NUMERIC_DIVERGED, CONFIG_INVALID for a candidate that is not there
   */
  search(tokens: HostTensor, k: number, candidates?: readonly string[]): Hit[];
}

/**
 * Late interaction (ColBERT, arXiv 2004.12832): the score of a passage is Σ over the query's tokens of the largest cosine with a token of the passage
 * (MaxSim). All passages are compared, or those a faster search found.
 */
export function createLateIndex(dimension: number): LateIndex {
  const memory = new VectorMemory();
  const rows = new Area(memory);
  const asked = new Area(memory);
  const zeros = new Area(memory);
  const found = new Area(memory);
  const values = new Area(memory);
  const ids: string[] = [];
  const places = new Map<string, number>();
  /** Where each passage's tokens begin. */
  const starts = [0];
  const checked = (tokens: HostTensor): Float32Array => {
    const { shape, dtype, data } = tokens;
    if (dtype !== "f32" || shape.length !== 2 || shape[1] !== dimension || shape[0]! < 1)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/retrieval] late interaction: expected f32[tokens, ${dimension}], got ${dtype}[${shape.join(", ")}]`,
      );
    const copy = Float32Array.from(data as Float32Array);
    if (!copy.every(Number.isFinite))
      throw new LfmError("NUMERIC_DIVERGED", "[@lfm/retrieval] late interaction: a vector has values that are not finite");
    toUnitLength(copy, dimension);
    return copy;
  };
  return {
    dimension,
    ids,
    add: (id, tokens) => {
      if (places.has(id)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] late interaction: id "${id}" is there already`);
      const vectors = checked(tokens);
      const used = starts.at(-1)! * dimension;
      rows.reserve(4 * (used + vectors.length), 4 * used);
      rows.f32(used + vectors.length).set(vectors, used);
      places.set(id, ids.length);
      ids.push(id);
      starts.push(starts.at(-1)! + vectors.length / dimension);
    },
    search: (tokens, k, candidates) => {
      const vectors = checked(tokens);
      const q = vectors.length / dimension;
      const numbers = candidates
        ? candidates.map((id) => {
            const place = places.get(id);
            if (place === undefined) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] late interaction: there is no "${id}"`);
            return place;
          })
        : ids.map((_, i) => i);
      const longest = starts.reduce((most, start, i) => (i === 0 ? 0 : Math.max(most, start - starts[i - 1]!)), 0);
      asked.reserve(4 * vectors.length);
      zeros.reserve(4 * longest);
      found.reserve(4 * q);
      values.reserve(4 * q);
      asked.f32(vectors.length).set(vectors);
      zeros.f32(longest).fill(0);
      const top = new TopK(Math.min(Math.max(0, k), numbers.length));
      for (const number of numbers) {
        const [from, to] = [starts[number]!, starts[number + 1]!];
        memory.fn.assign(asked.at, q, dimension, rows.at + 4 * from * dimension, to - from, zeros.at, found.at, values.at);
        top.offer(
          number,
          values.f32(q).reduce((sum, value) => sum + value, 0),
        );
      }
      return top.hits(ids);
    },
  };
}
