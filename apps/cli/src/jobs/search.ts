import { existsSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { readTopics, writeTrecRun } from "@lfm/data";
import { engineOf } from "../inputs/engine.js";
import { openSearch, type WhatToSearch } from "../inputs/open-search.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface SearchRequest extends JobRequest, WhatToSearch {
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
}

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
  const found = await openSearch(request, await engineOf(request), job);
  const rows = (await found.query(query, request.top)).map(({ passage, score }) => ({ score, ...passage }));
  await found.dispose();
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
  const found = await openSearch(request, await engineOf(request), job);
  const started = performance.now();
  const run = await found.find(queries, depth);
  await found.dispose();
  const seconds = (performance.now() - started) / 1000;
  writeTrecRun(out, run, tag);
  const hits = [...run.values()].reduce((n, found) => n + found.length, 0);
  return {
    value: { topics, run: out, queries: queries.length, hits, seconds },
    text: `${hits.toLocaleString("en")} hits of ${queries.length} queries in ${seconds.toFixed(1)} s: ${out}; measure it with\n  lfm eval-run ${out} QRELS`,
  };
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}
