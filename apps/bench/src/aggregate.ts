import type { CellResult, Monitor, Paradigm } from "@lfm/core";
import type { StoredRun } from "./summary.js";

/** The survey's order: retrieval stands under tuning, as database augmentation. */
export const paradigmOrder: readonly Paradigm[] = ["tuning", "retrieval", "distillation", "reuse", "meta", "editing", "probe"];

/** Mean and sample standard deviation over seeds; sd is null with fewer than two, mean with none. */
export interface Stat {
  readonly mean: number | null;
  readonly sd: number | null;
  readonly n: number;
}

export interface MetricStat extends Stat {
  readonly unit: string;
  readonly higherIsBetter: boolean;
  readonly note?: string;
  /** Of the model as it was, over the seeds that have it. */
  readonly base?: Stat;
}

export interface SeedMonitor extends Monitor {
  readonly seed: number;
}

/** All seeds of one method on one task. */
export interface ReportRow {
  /** `paradigm/task/method/variant`. */
  readonly key: string;
  readonly paradigm: Paradigm;
  readonly task: string;
  readonly model: string;
  readonly method: string;
  readonly variant: string | undefined;
  /** `method`, or `method · variant` where a task holds it more than once. */
  readonly label: string;
  /** ok when every seed is; otherwise the worst. */
  readonly status: CellResult["status"];
  readonly seeds: readonly number[];
  readonly headline: string | undefined;
  readonly metrics: Readonly<Record<string, MetricStat>>;
  readonly access: readonly string[];
  /** Of all seeds, warnings first. */
  readonly monitors: readonly SeedMonitor[];
  /** Curve by name, by seed. */
  readonly curves: Readonly<Record<string, readonly (readonly (readonly [number, number])[])[]>>;
  readonly results: readonly CellResult[];
}

export function statOf(values: readonly (number | null | undefined)[]): Stat {
  const taken = values.filter((v): v is number => typeof v === "number");
  const n = taken.length;
  if (n === 0) return { mean: null, sd: null, n };
  const mean = taken.reduce((a, b) => a + b, 0) / n;
  const sd = n < 2 ? null : Math.sqrt(taken.reduce((a, v) => a + (v - mean) ** 2, 0) / (n - 1));
  return { mean, sd, n };
}

/** The rows of a run, in the survey's order of paradigms and the suite's order within. */
export function groupCells(run: StoredRun): readonly ReportRow[] {
  const groups = new Map<string, CellResult[]>();
  for (const result of run.results) {
    const key = [result.paradigm, result.task, result.method, ...(result.variant ? [result.variant] : [])].join("/");
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  const rows = [...groups].map(([key, results]) => toRow(key, results));
  const labelled = rows.map((row) => {
    const twins = rows.filter((r) => r.paradigm === row.paradigm && r.task === row.task && r.method === row.method);
    return twins.length > 1 && row.variant ? { ...row, label: `${row.method} · ${row.variant}` } : row;
  });
  return labelled.sort((a, b) => paradigmOrder.indexOf(a.paradigm) - paradigmOrder.indexOf(b.paradigm));
}

function toRow(key: string, results: readonly CellResult[]): ReportRow {
  const [first] = results as readonly [CellResult, ...CellResult[]];
  const ok = results.filter((r) => r.status === "ok");
  const worst = results.find((r) => r.status === "failed") ?? results.find((r) => r.status === "skipped") ?? first;
  const monitors = ok.flatMap((r) => r.monitors.map((m) => ({ ...m, seed: r.seed })));
  return {
    key,
    paradigm: first.paradigm,
    task: first.task,
    model: first.model,
    method: first.method,
    variant: first.variant,
    label: first.method,
    status: worst.status,
    seeds: results.map((r) => r.seed),
    headline: first.headline,
    metrics: metricStats(ok),
    access: first.access,
    monitors: [...monitors.filter((m) => m.warning), ...monitors.filter((m) => !m.warning)],
    curves: collectCurves(ok),
    results,
  };
}

function metricStats(results: readonly CellResult[]): Record<string, MetricStat> {
  const names = [...new Set(results.flatMap((r) => Object.keys(r.metrics)))];
  return Object.fromEntries(
    names.map((name) => {
      const all = results.flatMap((r) => (r.metrics[name] ? [r.metrics[name]] : []));
      const { unit, higherIsBetter, note } = all[0]!;
      const base = statOf(all.map((m) => m.base));
      const known = { ...(note ? { note } : {}), ...(base.mean === null ? {} : { base }) };
      return [name, { ...statOf(all.map((m) => m.value)), unit, higherIsBetter, ...known }];
    }),
  );
}

function collectCurves(results: readonly CellResult[]): ReportRow["curves"] {
  const names = [...new Set(results.flatMap((r) => Object.keys(r.curves)))];
  return Object.fromEntries(names.map((name) => [name, results.flatMap((r) => (r.curves[name] ? [r.curves[name]] : []))]));
}

/** The metric that stands for a row in tables and plots; undefined when it was not taken. */
export function headlineOf(row: ReportRow): MetricStat | undefined {
  return row.headline === undefined ? undefined : row.metrics[row.headline];
}
