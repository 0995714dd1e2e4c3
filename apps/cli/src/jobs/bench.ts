import { join, resolve } from "node:path";
import {
  type CellSummary,
  compareRuns,
  type ExpectedTime,
  expectedTime,
  measuredTimes,
  planSuite,
  type RunEvent,
  runSuite,
  writeReport,
} from "@lfm/bench";
import type { CommonOptions, Console, Io } from "../program/console.js";
import { exitCodes } from "../program/exit-codes.js";
import { listenForStop } from "../program/stop.js";
import { formatSeconds } from "../render/progress.js";
import { formatTable } from "../render/table.js";

export interface BenchOptions extends CommonOptions {
  readonly suite: string;
  readonly out?: string;
  readonly seed?: readonly number[];
  readonly engine: string;
  readonly only?: string;
  readonly limit?: number;
  readonly jobs?: number;
  readonly threads?: number;
  readonly dryRun?: boolean;
}

/** Runs a suite and prints its table; returns the exit code: 1 when a cell failed, 130 when it was stopped. */
export async function runBench(options: BenchOptions, console: Console, io: Io): Promise<number> {
  const plan = {
    suite: options.suite,
    engine: options.engine,
    ...(options.seed ? { seeds: options.seed } : {}),
    ...(options.only ? { only: options.only } : {}),
    ...(options.limit ? { limit: options.limit } : {}),
  };
  if (options.dryRun) {
    const { cells } = await planSuite(plan);
    const expected = expectedTime(cells, measuredTimes());
    console.result({ cells, expected }, () =>
      [
        formatTable(cells, [
          { title: "paradigm", value: (c) => c.paradigm },
          { title: "task", value: (c) => c.scenario },
          { title: "method", value: (c) => named(c.method, c.variant) },
          { title: "model", value: (c) => c.model },
          { title: "seed", value: (c) => String(c.seed), align: "right" },
        ]),
        "",
        `${cells.length} cells, ${inWords(expected)}`,
      ].join("\n"),
    );
    return exitCodes.ok;
  }
  const out = options.out ?? `lfm-out/bench-${options.suite.replace(/^.*\//, "").replace(/\.ya?ml$/, "")}`;
  const stop = listenForStop(() => console.note("stopping after this step; a second Ctrl-C ends at once"));
  try {
    const folders = { data: io.env.LFM_DATA, models: io.env.LFM_MODELS };
    const { summary, interrupted } = await runSuite({
      ...plan,
      out,
      folders,
      ...(options.jobs ? { jobs: options.jobs } : {}),
      ...(options.threads ? { threads: options.threads } : {}),
      signal: stop.signal,
      onEvent: (event) => show(event, console),
    });
    const report = await writeReport(out);
    const failed = summary.cells.filter((c) => c.status === "failed");
    console.result({ ...summary, out: resolve(out), report }, () =>
      [
        resultTable(summary.cells),
        "",
        ...failed.map((c) => `failed: ${c.paradigm}/${c.task}/${named(c.method, c.variant)} seed ${c.seed}: ${c.error?.message ?? ""}`),
        `${summary.cells.length} cells in ${formatSeconds(summary.wallMs / 1000)}; report: ${resolve(join(out, "report.html"))}`,
      ].join("\n"),
    );
    if (interrupted) {
      console.ending(`stopped; ${summary.pending.length} cells are left. Go on with: lfm bench --suite ${options.suite} --out ${out}`);
      return exitCodes.aborted;
    }
    return failed.length > 0 ? exitCodes.failure : exitCodes.ok;
  } finally {
    stop.end();
  }
}

/** How long it will take, and how well that is known. */
function inWords({ minutes, machine, measured, likeTheirTask, unknown }: ExpectedTime): string {
  if (measured + likeTheirTask === 0) return "whose time was never measured";
  const parts = [
    `${measured} measured`,
    ...(likeTheirTask > 0 ? [`${likeTheirTask} taken as the median of their task`] : []),
    ...(unknown > 0 ? [`${unknown} never measured and not counted`] : []),
  ];
  return `about ${minutes < 10 ? minutes.toFixed(1) : Math.round(minutes)} minutes on ${machine} (${parts.join(", ")})`;
}

function show(event: RunEvent, console: Console): void {
  if (event.type === "plan" && event.kept > 0) console.note(`${event.kept} of ${event.total} cells have a result already`);
  // In a log the finished cells say enough.
  if (event.type === "progress" && console.interactive)
    console.progress({ ...event.progress, phase: `${event.name}: ${event.progress.phase}` });
  if (event.type === "log") console.note(`${event.name}: ${event.message}`);
  if (event.type === "cell-end") {
    const { result } = event;
    const headline = result.headline === undefined ? undefined : result.metrics[result.headline];
    const shown =
      result.status === "ok"
        ? headline
          ? `${result.headline} ${formatMetric(headline.value)}`
          : "ok"
        : `${result.status}${result.reason ? `: ${result.reason}` : result.error ? `: ${result.error.message}` : ""}`;
    console.note(
      `[${event.index + 1}/${event.total}] ${event.name}  ${shown}  ${result.wallMs === null ? "" : formatSeconds(result.wallMs / 1000)}`,
    );
    for (const m of result.monitors) if (m.warning) console.note(`    ⚠ ${m.message}`);
  }
}

function resultTable(cells: readonly CellSummary[]): string {
  return formatTable(cells, [
    { title: "paradigm", value: (c) => c.paradigm },
    { title: "task", value: (c) => c.task },
    { title: "method", value: (c) => named(c.method, c.variant) },
    { title: "seed", value: (c) => String(c.seed), align: "right" },
    { title: "headline", value: (c) => (c.status === "ok" ? (c.headline ?? "") : c.status) },
    {
      title: "value",
      value: (c) => (c.headline && c.metrics[c.headline] ? formatMetric(c.metrics[c.headline]!.value) : "–"),
      align: "right",
    },
    { title: "kept", value: (c) => (c.retention ? `${(100 * c.retention.kept).toFixed(1)} %` : "–"), align: "right" },
    { title: "trained", value: (c) => (c.trainableParams === null ? "–" : c.trainableParams.toLocaleString("en")), align: "right" },
    { title: "time", value: (c) => (c.wallMs === null ? "–" : formatSeconds(c.wallMs / 1000)), align: "right" },
  ]);
}

function named(method: string, variant: string | undefined): string {
  return variant ? `${method} (${variant})` : method;
}

function formatMetric(value: number | null): string {
  return value === null ? "not run" : String(Number(value.toPrecision(4)));
}

/** Compares two runs; 1 on a regression. */
export async function runCompare(before: string, after: string, tolerance: number, console: Console): Promise<number> {
  const comparison = await compareRuns(before, after, { tolerance });
  console.result(comparison, () =>
    [
      formatTable(comparison.rows, [
        { title: "cell", value: (r) => r.name },
        { title: "metric", value: (r) => r.metric },
        { title: "before", value: (r) => formatMetric(r.before), align: "right" },
        { title: "after", value: (r) => formatMetric(r.after), align: "right" },
        { title: "verdict", value: (r) => r.verdict },
      ]),
      comparison.regressions > 0 ? `${comparison.regressions} regressions` : "no regression",
    ].join("\n"),
  );
  return comparison.regressions > 0 ? exitCodes.failure : exitCodes.ok;
}
