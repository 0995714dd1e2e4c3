import { groupCells, type MetricStat, type ReportRow } from "./aggregate.js";
import { type Axis, overSeeds } from "./axes/axis.js";
import { axes as allAxes } from "./axes/index.js";
import { readRun, type StoredRun } from "./summary.js";

export interface ComparedRow {
  /** `paradigm/task/method/variant`. */
  readonly name: string;
  /** A metric, an axis that is compared ("retention") or "status" (1 = ok, 0 = not). */
  readonly metric: string;
  readonly before: number | null;
  readonly after: number | null;
  readonly unit: string;
  /** Change in the good direction as a share of the metric's scale; negative is worse. */
  readonly gain: number;
  readonly verdict: "worse" | "same" | "better" | "failed" | "missing" | "new";
}

export interface Comparison {
  readonly tolerance: number;
  /** Worst first. */
  readonly rows: readonly ComparedRow[];
  /** Number of rows that are worse, failed or missing. */
  readonly regressions: number;
  readonly improvements: number;
}

/**
 * Compares two runs, folders or read ones, over the mean of their seeds: a gate on regressions.
 * A metric is worse when it moved against its direction by more than `tolerance` of its scale: 1 for fractions, 100 for points,
 * the size of the old value for every other unit. A method that was ok and is not, or is gone, is a regression too. Cost is not compared:
 * it depends on the machine.
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export function compareRuns(
  before: string | StoredRun,
  after: string | StoredRun,
  options: { readonly tolerance?: number; readonly axes?: readonly Axis[] } = {},
): Comparison {
  const { tolerance = 0.02, axes = allAxes } = options;
  const [a, b] = [rowsOf(before), rowsOf(after)];
  const status = (name: string, was: number | null, is: number | null, gain: number, verdict: ComparedRow["verdict"]): ComparedRow => ({
    name,
    metric: "status",
    before: was,
    after: is,
    unit: "count",
    gain,
    verdict,
  });
  const rows: ComparedRow[] = [];
  for (const [name, old] of a) {
    const now = b.get(name);
    if (!now) rows.push(status(name, Number(old.status === "ok"), null, Number.NEGATIVE_INFINITY, "missing"));
    else if (old.status === "ok" && now.status !== "ok") rows.push(status(name, 1, 0, Number.NEGATIVE_INFINITY, "failed"));
    else if (old.status === "ok") rows.push(...compareRow(name, old, now, tolerance, axes));
    else if (now.status === "ok") rows.push(status(name, 0, 1, 1, "better"));
  }
  for (const name of b.keys()) if (!a.has(name)) rows.push(status(name, null, 1, 0, "new"));
  rows.sort((x, y) => (x.gain === y.gain ? 0 : x.gain - y.gain));
  const count = (...verdicts: ComparedRow["verdict"][]): number => rows.filter((r) => verdicts.includes(r.verdict)).length;
  return { tolerance, rows, regressions: count("worse", "failed", "missing"), improvements: count("better") };
}

function compareRow(name: string, old: ReportRow, now: ReportRow, tolerance: number, axes: readonly Axis[]): ComparedRow[] {
  return [...qualities(old, axes)].flatMap(([metric, was]): ComparedRow[] => {
    if (was.mean === null) return [];
    const after = qualities(now, axes).get(metric)?.mean ?? null;
    const gain = gainOf(was, was.mean, after);
    const verdict = gain < -tolerance ? "worse" : gain > tolerance ? "better" : "same";
    return [{ name, metric, before: was.mean, after, unit: was.unit, gain, verdict }];
  });
}

function rowsOf(run: string | StoredRun): Map<string, ReportRow> {
  return new Map(groupCells(typeof run === "string" ? readRun(run) : run).map((row) => [row.key, row]));
}

/** Units of what depends on the machine. */
const COSTS: readonly string[] = ["ms", "bytes", "MB/s"];

function qualities(row: ReportRow, axes: readonly Axis[]): Map<string, MetricStat> {
  const all = new Map(Object.entries(row.metrics).filter(([, m]) => !COSTS.includes(m.unit)));
  for (const axis of axes) {
    if (axis.compared) all.set(axis.id, { ...overSeeds(axis, row), unit: axis.unit ?? "", higherIsBetter: axis.better === "higher" });
  }
  return all;
}

/** A metric that can no longer be taken is the worst regression there is. */
function gainOf(metric: MetricStat, was: number, is: number | null): number {
  if (is === null) return Number.NEGATIVE_INFINITY;
  const scale = metric.unit === "fraction" ? 1 : metric.unit === "points" ? 100 : Math.max(Math.abs(was), 1e-12);
  return ((metric.higherIsBetter ? 1 : -1) * (is - was)) / scale;
}
