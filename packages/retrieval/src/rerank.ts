import { LfmError, throwIfAborted } from "@lfm/core";
import type { Hit, Passage, Query, Run } from "@lfm/data";
import { passageText } from "./text-encoder.js";

/** How well each text answers a question: a cross-encoder, a model that reads both. */
export type PairScorer = (query: string, texts: readonly string[], signal?: AbortSignal) => Promise<ArrayLike<number>>;

export interface RerankOptions {
  /** Hits of each query that are read; those behind them keep their order. Default 100. */
  readonly top?: number;
  readonly signal?: AbortSignal;
}

/**
 * The first hits of each query in the order of a scorer that reads question and passage together (arXiv 1901.04085); equal scores keep their order. What
 * was not read stands behind, with scores below the least that was given, in its order.
 * @throws {LfmError} CONFIG_INVALID for hits or queries that are not among those given; SHAPE_MISMATCH for a scorer that loses texts; ABORTED between queries
 */
export async function rerank(
  run: Run,
  queries: readonly Query[],
  passages: readonly Passage[],
  scorer: PairScorer,
  options: RerankOptions = {},
): Promise<Run> {
  const { top = 100, signal } = options;
  const texts = new Map(passages.map((p) => [p.id, p]));
  const asked = new Map(queries.map((q) => [q.id, q.text]));
  const out = new Map<string, Hit[]>();
  for (const [id, hits] of run) {
    throwIfAborted(signal, "[@lfm/retrieval] rerank");
    const query = asked.get(id);
    if (query === undefined)
      throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] rerank: the run has the query "${id}", which is not among the queries`);
    const first = hits.slice(0, top);
    const read = first.map((hit) => {
      const passage = texts.get(hit.id);
      if (!passage)
        throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] rerank: the run has "${hit.id}", which is not among the passages`);
      return passageText(passage);
    });
    const scores = read.length === 0 ? [] : await scorer(query, read, signal);
    if (scores.length !== read.length)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/retrieval] rerank: the scorer gave ${scores.length} scores for ${read.length} texts`);
    const order = first.map((hit, i) => ({ id: hit.id, score: Number(scores[i]) })).sort((a, b) => b.score - a.score);
    const least = order.at(-1)?.score ?? 0;
    const rest = hits.slice(top).map((hit, i) => ({ id: hit.id, score: least - 1 - i }));
    out.set(id, [...order, ...rest]);
  }
  return out;
}
