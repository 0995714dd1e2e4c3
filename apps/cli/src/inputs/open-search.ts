import type { Engine } from "@lfm/core";
import type { Hit, Passage, Query, Run } from "@lfm/data";
import { reciprocalRankFusion, type SearchDepth } from "@lfm/retrieval";
import type { JobContext } from "../program/job.js";
import { type OpenedIndex, openIndex } from "./documents.js";

/** What is searched, and how closely. */
export interface WhatToSearch extends SearchDepth {
  /** A folder that `lfm index` wrote. */
  readonly index: string;
  /** A second one over the same documents: reciprocal rank fusion of both. */
  readonly and?: string;
}

export interface FoundPassage {
  readonly passage: Passage;
  /** Comparable within one search alone. */
  readonly score: number;
}

/** One index, or two that are fused. One call at a time. */
export interface OpenedSearch {
  /** Hits by the query's id. */
  find(queries: readonly Query[], k: number): Promise<Run>;
  /** The best passages for one text. */
  lookUp(text: string, k: number): Promise<readonly FoundPassage[]>;
  dispose(): Promise<void>;
}

/** Hits behind the first that fusion still looks at. */
const FUSION_DEPTH = 1000;

/** @throws {LfmError} as {@link openIndex} */
export async function openSearch({ index, and, ...asked }: WhatToSearch, engine: Engine, job: JobContext): Promise<OpenedSearch> {
  const first = await openIndex(index, engine, job);
  const second = and === undefined ? undefined : await openIndex(and, engine, job);
  const depth: SearchDepth = Object.fromEntries(
    (["ef", "probes", "rescore"] as const).flatMap((name) => (asked[name] === undefined ? [] : [[name, asked[name]]])),
  );
  const byId = new Map(first.passages.map((p) => [p.id, p]));
  const findIn = async (opened: OpenedIndex, queries: readonly Query[], k: number): Promise<Run> => {
    const found = await opened.search(
      queries.map((q) => q.text),
      k,
      depth,
    );
    return new Map(queries.map((q, i) => [q.id, found[i]!]));
  };
  const find = async (queries: readonly Query[], k: number): Promise<Run> => {
    if (!second) return findIn(first, queries, k);
    const deep = Math.max(k, FUSION_DEPTH);
    const both = [await findIn(first, queries, deep), await findIn(second, queries, deep)];
    return new Map([...reciprocalRankFusion(both)].map(([id, hits]): [string, readonly Hit[]] => [id, hits.slice(0, k)]));
  };
  return {
    find,
    lookUp: async (text, k) => {
      const hits = (await find([{ id: "q", text }], k)).get("q")!;
      // A second index may have documents that the first has not.
      return hits.flatMap(({ id, score }) => (byId.has(id) ? [{ passage: byId.get(id)!, score }] : []));
    },
    dispose: async () => {
      await first.dispose();
      await second?.dispose();
    },
  };
}
