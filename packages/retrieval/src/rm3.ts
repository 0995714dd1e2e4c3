import { LfmError } from "@lfm/core";
import type { Hit } from "@lfm/data";
import type { Bm25Index, QueryTerms } from "./index/bm25-index.js";
import { forwardOf } from "./index/inverted-index.js";

export interface Rm3Options {
  /** Passages of the first search that terms are taken from; default 10, as Anserini. */
  readonly documents?: number;
  /** Terms that are kept of each, and of all; default 10. */
  readonly terms?: number;
  /** Weight of the query as it was asked; default 0.5. 1 is the query alone. */
  readonly originalWeight?: number;
}

export interface ExpandingSearch {
  /** The terms that a query becomes. */
  expand(query: string): QueryTerms;
  search(query: string, k: number): Hit[];
}

/** Longest and shortest term that is taken, and the largest share of passages that may have it: Anserini's. */
const TERM = /^[a-z0-9]{2,20}$/;
const COMMON = 0.1;

/**
 * RM3 (relevance model 1 interpolated with the query; Abdul-Jaleel et al., TREC 2004) as Anserini expands queries: the best terms of each of the first
 * passages found, weighted by its score, the best of them all beside the query's own. Terms of equal weight in the order of the alphabet.
 */
export function relevanceModel(index: Bm25Index, options: Rm3Options = {}): ExpandingSearch {
  const { documents = 10, terms: most = 10, originalWeight = 0.5 } = options;
  if (!(originalWeight >= 0 && originalWeight <= 1) || !(documents >= 1) || !(most >= 1))
    throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] rm3 needs documents and terms of 1 or more, and a weight in 0..1");
  const { inverted } = index;
  const { terms, offsets } = inverted;
  const forward = forwardOf(inverted);
  const rowOf = new Map(inverted.ids.map((id, row) => [id, row]));
  const usable = terms.map((term, t) => TERM.test(term) && (offsets[t + 1]! - offsets[t]!) / inverted.ids.length <= COMMON);
  const f = Math.fround;

  const expand = (query: string): QueryTerms => {
    const own = scaled(index.analyze(query));
    const found = index.search(query, documents);
    const weights = new Map<string, number>();
    for (const { id, score } of found) {
      const doc = rowOf.get(id)!;
      const vector: [string, number][] = [];
      for (let i = forward.starts[doc]!; i < forward.starts[doc + 1]!; i++) {
        const t = forward.terms[i]!;
        if (usable[t]) vector.push([terms[t]!, forward.freqs[i]!]);
      }
      const best = heaviest(vector, most);
      const norm = f(best.reduce((sum, [, freq]) => sum + freq, 0));
      if (norm > 0) for (const [term, freq] of best) weights.set(term, f((weights.get(term) ?? 0) + f(f(freq / norm) * f(score))));
    }
    const model = scaled(new Map(heaviest([...weights], most)));
    const out = new Map<string, number>();
    for (const term of new Set([...own.keys(), ...model.keys()]))
      out.set(term, f(f(f(originalWeight) * (own.get(term) ?? 0)) + (1 - f(originalWeight)) * (model.get(term) ?? 0)));
    return out;
  };
  return { expand, search: (query, k) => index.search(expand(query), k) };
}

function heaviest(entries: readonly [string, number][], most: number): [string, number][] {
  return [...entries].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, most);
}

/** Weights that add up to 1. */
function scaled(weights: QueryTerms): QueryTerms {
  const sum = [...weights.values()].reduce((a, b) => a + b, 0);
  return new Map([...weights].map(([term, weight]) => [term, Math.fround(weight / sum)]));
}
