import { statSync } from "node:fs";
import { join } from "node:path";
import { readQrels, readTrecRun } from "@lfm/data";
import { measure } from "@lfm/retrieval";
import type { CommonOptions, Console } from "../program/console.js";
import { formatTable } from "../render/table.js";

export interface EvalRunOptions extends CommonOptions {
  readonly measures: readonly string[];
  readonly perQuery?: boolean;
  readonly complete?: boolean;
  readonly split: string;
}

/** `lfm eval-run`: means over queries, and each query's where they are asked for. */
export async function evalRun(runFile: string, qrelsFile: string, options: EvalRunOptions, console: Console): Promise<void> {
  const run = readTrecRun(runFile);
  const qrels = readQrels(isFolder(qrelsFile) ? join(qrelsFile, "qrels", `${options.split}.tsv`) : qrelsFile);
  const names = options.measures;
  const measured = names.map((name) => measure(run, qrels, name, { queries: options.complete ? "judged" : "found" }));
  const queries = [...measured[0]!.perQuery.keys()];
  const means = Object.fromEntries(names.map((name, i) => [name, measured[i]!.mean]));
  const each = queries.map((query) => ({ query, values: measured.map((m) => m.perQuery.get(query)!) }));
  const perQuery = Object.fromEntries(
    each.map(({ query, values }) => [query, Object.fromEntries(names.map((name, i) => [name, values[i]]))]),
  );
  console.result(
    { run: runFile, qrels: qrelsFile, queries: queries.length, measures: means, ...(options.perQuery ? { perQuery } : {}) },
    () =>
      formatTable(
        [...(options.perQuery ? each : []), { query: `all ${queries.length}`, values: measured.map((m) => m.mean) }],
        [
          { title: "query", value: (r) => r.query },
          ...names.map((name, i) => ({
            title: name,
            value: (r: (typeof each)[number]) => r.values[i]!.toFixed(4),
            align: "right" as const,
          })),
        ],
      ),
  );
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
