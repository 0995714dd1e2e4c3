/**
 * `npm run results -- standard reuse [--seed 7 …]`: runs suites, with flags of `lfm bench`, and writes docs/results/SUITE.{md,csv,json} and
 * docs/results/claims.md, the table of what was to be shown and what came out, docs/editing.md, docs/accumulated-edits.md, and
 * apps/bench/suites/times.json, from which `lfm bench --dry-run` tells how long a plan takes. Finished cells in .cache/results are kept; claims are judged on what is published of all suites, and one
 * whose cells are not there reads "not run".
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MeasuredTimes } from "@lfm/bench";
import { accumulatedEdits } from "./accumulated-edits.js";
import { type Claim, suites } from "./claim.js";
import { claims } from "./claims.js";
import { editingPage } from "./editing-page.js";

/** What is read of a row of docs/results/SUITE.json. */
interface ReportRow {
  readonly paradigm: string;
  readonly task: string;
  readonly method: string;
  readonly variant: string | null;
  readonly status: string;
  readonly metrics: Readonly<Record<string, { readonly mean: number | null }>>;
  readonly retention: { readonly kept: { readonly mean: number | null } } | null;
  readonly trainableParams: number | null;
  readonly key: string;
  readonly wallMs: { readonly mean: number | null };
  readonly setupMs: { readonly mean: number | null };
}

interface Report {
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly rows: readonly ReportRow[];
}

/** A row that a claim asks for is not there. */
class Missing extends Error {}

const root = join(import.meta.dirname, "..");
const target = join(root, "docs/results");
mkdirSync(target, { recursive: true });
const runs = (suite: string): string => join(root, ".cache/results", suite);

const given = process.argv.slice(2);
const names = given.slice(
  0,
  [...given, "--"].findIndex((word) => word.startsWith("--")),
);
const flags = given.slice(names.length);
for (const suite of names) {
  const run = spawnSync(process.execPath, [join(root, "apps/cli/bin/lfm.js"), "bench", "--suite", suite, "--out", runs(suite), ...flags], {
    stdio: "inherit",
  });
  if (run.status !== 0 && run.status !== 1) process.exit(run.status ?? 1);
  for (const kind of ["md", "csv", "json"]) copyFileSync(join(runs(suite), `report.${kind}`), join(target, `${suite}.${kind}`));
  keepTimes(JSON.parse(readFileSync(join(target, `${suite}.json`), "utf8")) as Report);
}

const published = (suite: string): string | undefined => {
  const path = join(target, `${suite}.csv`);
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
};
writeFileSync(join(root, "docs/editing.md"), editingPage(published("editing")));
writeFileSync(join(root, "docs/accumulated-edits.md"), accumulatedEdits(published("editing-accumulate")));

/** What was published of a suite, now or earlier. */
const rowsOf = (suite: string): readonly ReportRow[] => {
  const path = join(target, `${suite}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Report).rows : [];
};
const known = new Map<string, readonly ReportRow[]>(suites.map((suite) => [suite, rowsOf(suite)]));
const rows = claims.map((claim) => ({ claim, outcome: judge(claim, known.get(claim.suite)!) }));

writeFileSync(
  join(target, "claims.md"),
  `${[
    "# What was to be shown",
    "",
    "Written by `npm run results`. Numbers are means over the seeds of a suite; nothing was tuned on test splits.",
    "",
    "| paradigm | suite | to be shown | measured | |",
    "| --- | --- | --- | --- | --- |",
    ...rows.map(
      ({ claim, outcome }) =>
        `| ${claim.paradigm} | ${claim.suite} | ${claim.what} | ${outcome.text} | ${outcome.reached === null ? "not run" : outcome.reached ? "reached" : "**not reached**"} |`,
    ),
  ].join("\n")}\n`,
);
writeFileSync(
  join(target, "claims.json"),
  `${JSON.stringify(
    rows.map(({ claim, outcome }) => ({ paradigm: claim.paradigm, suite: claim.suite, what: claim.what, ...outcome })),
    null,
    2,
  )}\n`,
);
console.log(readFileSync(join(target, "claims.md"), "utf8"));

/** What a suite's cells took joins what is known of others; times of another machine go. */
function keepTimes({ machine, rows }: Report): void {
  const path = join(root, "apps/bench/suites/times.json");
  const before = JSON.parse(readFileSync(path, "utf8")) as MeasuredTimes;
  const name = `${machine.cpu}, ${machine.cores} cores`;
  const seconds = { ...(before.machine === name ? before.seconds : {}) };
  for (const { key, status, wallMs, setupMs } of rows)
    if (status === "ok" && wallMs.mean !== null) seconds[key] = Number(((wallMs.mean + (setupMs.mean ?? 0)) / 1000).toFixed(1));
  const sorted = Object.fromEntries(Object.entries(seconds).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(path, `${JSON.stringify({ machine: name, seconds: sorted }, null, 2)}\n`);
}

/** A claim over rows that are not there (all) is not run, never reached. */
function judge(claim: Claim, published: readonly ReportRow[]): { readonly text: string; readonly reached: boolean | null } {
  const value = (method: string, metric: string): number => {
    const [task, id, variant] = method.split("/");
    const row = published.find(
      (r) =>
        r.paradigm === claim.paradigm && r.task === task && r.method === id && (r.variant ?? "") === (variant ?? "") && r.status === "ok",
    );
    const found = metric === "kept" ? row?.retention?.kept.mean : metric === "trained" ? row?.trainableParams : row?.metrics[metric]?.mean;
    if (typeof found !== "number") throw new Missing();
    return found;
  };
  try {
    return claim.judge(value);
  } catch (error) {
    if (error instanceof Missing) return { text: "–", reached: null };
    throw error;
  }
}
