import { existsSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { type Hit, type Query, type Run, readTopics, writeTrecRun } from "@lfm/data";
import { reciprocalRankFusion } from "@lfm/retrieval";
import { type OpenedIndex, openIndex } from "../inputs/documents.js";
import { engineOf } from "../inputs/engine.js";

import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface SearchRequest extends JobRequest {
  readonly index: string;
  /** One question, or: */
  readonly query?: string;
  /** a file of queries, whose hits are written to `run`. */
  readonly topics?: string;
  readonly split?: string;
  readonly run?: string;
  readonly overwrite?: boolean;
  readonly top: number;
  readonly depth: number;
  readonly tag: string;
  readonly and?: string;
  readonly ef?: number;
  readonly probes?: number;
  readonly rescore?: number;
}

/** Hits behind the first that fusion still looks at. */
const FUSION_DEPTH = 1000;

/** `lfm search`: the best documents for a query, with their text; or a TREC run of many queries. */
export async function search(request: SearchRequest, job: JobContext): Promise<JobResult> {
  const { query, topics } = request;
  if ((query === undefined) === (topics === undefined))
    throw new LfmError("CONFIG_INVALID", "lfm: give either words to search for, or --topics", {
      hint: "lfm search INDEX what I look for; or lfm search INDEX --topics queries.tsv --run out.run",
    });
  return topics === undefined ? searchOne(request, query!, job) : searchAll(request, topics, job);
}

async function searchOne(request: SearchRequest, query: string, job: JobContext): Promise<JobResult> {
  const { passages, find } = await openSearch(request, job);
  const hits = (await find([{ id: "q", text: query }], request.top)).get("q")!;
  const byId = new Map(passages.map((p) => [p.id, p]));
  const rows = hits.map((h) => ({ ...h, ...byId.get(h.id) }));
  return {
    value: { query, hits: rows },
    text:
      rows.length === 0
        ? "nothing found"
        : rows
            .map((r, i) => `${i + 1}. ${r.id}  ${r.score.toFixed(4)}  ${shorten([r.title, r.text].filter(Boolean).join(": "))}`)
            .join("\n"),
  };
}

async function searchAll(request: SearchRequest, topics: string, job: JobContext): Promise<JobResult> {
  const { run: out, overwrite, split, depth, tag } = request;
  if (out === undefined) throw new LfmError("CONFIG_INVALID", "lfm: --topics needs --run, the file of the hits", { hint: "--run out.run" });
  if (existsSync(out) && !overwrite)
    throw new LfmError("CONFIG_INVALID", `lfm: ${out} is there already`, { hint: "choose another file, or --overwrite" });
  const queries = readTopics(topics, split);
  const { find } = await openSearch(request, job);
  const started = performance.now();
  const run = await find(queries, depth);
  const seconds = (performance.now() - started) / 1000;
  writeTrecRun(out, run, tag);
  const hits = [...run.values()].reduce((n, found) => n + found.length, 0);
  return {
    value: { topics, run: out, queries: queries.length, hits, seconds },
    text: `${hits.toLocaleString("en")} hits of ${queries.length} queries in ${seconds.toFixed(1)} s: ${out}; measure it with\n  lfm eval-run ${out} QRELS`,
  };
}

interface Search {
  readonly passages: OpenedIndex["passages"];
  /** Hits by the query's id. */
  find(queries: readonly Query[], k: number): Promise<Run>;
}

/** One index, or two that are fused. */
async function openSearch({ index, and, ...request }: SearchRequest, job: JobContext): Promise<Search> {
  const engine = await engineOf(request);
  const first = await openIndex(index, engine, job);
  const second = and === undefined ? undefined : await openIndex(and, engine, job);
  const wish = Object.fromEntries(
    (["ef", "probes", "rescore"] as const).flatMap((name) => (request[name] === undefined ? [] : [[name, request[name]]])),
  );
  const find = async (opened: OpenedIndex, queries: readonly Query[], k: number): Promise<Run> => {
    const found = await opened.search(
      queries.map((q) => q.text),
      k,
      wish,
    );
    return new Map(queries.map((q, i) => [q.id, found[i]!]));
  };
  return {
    passages: first.passages,
    find: async (queries, k) => {
      if (!second) return find(first, queries, k);
      const both = [await find(first, queries, Math.max(k, FUSION_DEPTH)), await find(second, queries, Math.max(k, FUSION_DEPTH))];
      return new Map([...reciprocalRankFusion(both)].map(([id, hits]): [string, readonly Hit[]] => [id, hits.slice(0, k)]));
    },
  };
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}
