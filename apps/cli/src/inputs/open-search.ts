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
  /** The best passages for a query with "phrases" and beginnings of words*, which indexes of vectors read as plain text. */
  query(query: string, k: number): Promise<readonly FoundPassage[]>;
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
  type Ask = (opened: OpenedIndex, k: number) => Promise<readonly (readonly Hit[])[]>;
  /** Hits of each query, of both indexes where there are two. */
  const best = async (queries: readonly Pick<Query, "id">[], k: number, ask: Ask): Promise<Run> => {
    const runOf = async (opened: OpenedIndex, n: number): Promise<Run> => {
      const found = await ask(opened, n);
      return new Map(queries.map((q, i) => [q.id, found[i]!]));
    };
    if (!second) return runOf(first, k);
    const deep = Math.max(k, FUSION_DEPTH);
    const both = [await runOf(first, deep), await runOf(second, deep)];
    return new Map([...reciprocalRankFusion(both)].map(([id, hits]): [string, readonly Hit[]] => [id, hits.slice(0, k)]));
  };
  const find = (queries: readonly Query[], k: number): Promise<Run> => {
    const texts = queries.map((q) => q.text);
    return best(queries, k, (opened, n) => opened.search(texts, n, depth));
  };
  // A second index may have documents that the first has not.
  const passagesOf = (run: Run): readonly FoundPassage[] =>
    run.get("q")!.flatMap(({ id, score }) => (byId.has(id) ? [{ passage: byId.get(id)!, score }] : []));
  return {
    find,
    lookUp: async (text, k) => passagesOf(await find([{ id: "q", text }], k)),
    query: async (query, k) =>
      passagesOf(
        await best([{ id: "q" }], k, async (opened, n) => (opened.query ? [opened.query(query, n)] : opened.search([query], n, depth))),
      ),
    dispose: async () => {
      await first.dispose();
      await second?.dispose();
    },
  };
}
