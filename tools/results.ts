/**
 * `npm run results -- quick standard real`: runs suites and writes docs/results/SUITE.{md,csv,json} and docs/results/claims.md, the table of what
 * was to be shown and what came out. Finished cells in .cache/results are kept; a claim whose cells were not run reads "not run".
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CellSummary, readRun } from "@lfm/bench";
import { type Claim, claims } from "./claims.js";

/** A cell that a claim asks for is not there. */
class Missing extends Error {}

const root = join(import.meta.dirname, "..");
const target = join(root, "docs/results");
mkdirSync(target, { recursive: true });
const runs = (suite: string): string => join(root, ".cache/results", suite);

for (const suite of process.argv.slice(2)) {
  const run = spawnSync(process.execPath, [join(root, "apps/cli/bin/lfm.js"), "bench", "--suite", suite, "--out", runs(suite)], {
    stdio: "inherit",
  });
  if (run.status !== 0 && run.status !== 1) process.exit(run.status ?? 1);
  for (const kind of ["md", "csv", "json"]) copyFileSync(join(runs(suite), `report.${kind}`), join(target, `${suite}.${kind}`));
}

const cellsOf = (suite: string): readonly CellSummary[] =>
  existsSync(join(runs(suite), "summary.json")) ? readRun(runs(suite)).summary.cells : [];
const known = new Map<string, readonly CellSummary[]>(["standard", "reuse", "real"].map((suite) => [suite, cellsOf(suite)]));
const rows = claims.map((claim) => ({ claim, outcome: judge(claim, known.get(claim.suite) ?? []) }));

writeFileSync(
  join(target, "claims.md"),
  `${[
    "# What was to be shown",
    "",
    "Written by `npm run results`. Numbers of `standard` are means over its seeds; nothing was tuned on test splits.",
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

/** A claim over cells that are not there (all) is not run, never reached. */
function judge(claim: Claim, cells: readonly CellSummary[]): { readonly text: string; readonly reached: boolean | null } {
  const value = (method: string, metric: string): number => {
    const [task, id, variant] = method.split("/");
    const own = cells.filter(
      (c) =>
        c.paradigm === claim.paradigm && c.task === task && c.method === id && (c.variant ?? "") === (variant ?? "") && c.status === "ok",
    );
    const values = own.map((c) =>
      metric === "kept" ? c.retention?.kept : metric === "trained" ? c.trainableParams : c.metrics[metric]?.value,
    );
    if (values.length === 0 || values.some((v) => v === null || v === undefined)) throw new Missing();
    return (values as number[]).reduce((a, b) => a + b, 0) / values.length;
  };
  try {
    return claim.judge(value);
  } catch (error) {
    if (error instanceof Missing) return { text: "–", reached: null };
    throw error;
  }
}
