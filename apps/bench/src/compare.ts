import { groupCells, type MetricStat, type ReportRow } from "./aggregate.js";
import { readRun, type StoredRun } from "./summary.js";

export interface Change {
  /** `paradigm/task/method/variant`. */
  readonly name: string;
  /** A metric, "retention" or "status". */
  readonly metric: string;
  readonly before: number | null;
  readonly after: number | null;
  /** Change in the good direction, as a share of the metric's scale; negative is worse. */
  readonly gain: number;
  readonly unit: string;
}

export interface Comparison {
  readonly tolerance: number;
  readonly compared: number;
  readonly regressions: readonly Change[];
  readonly improvements: readonly Change[];
  /** Rows of one run only, by name. */
  readonly missing: readonly string[];
  readonly added: readonly string[];
  /** True when nothing got worse and nothing is missing. */
  readonly ok: boolean;
}

/**
 * Compares two runs, folders or read ones, row by row over the mean of their seeds.
 * A metric is worse when it moved against its direction by more than `tolerance` of its scale: 1 for fractions, 100 for points,
 * the size of the old value for every other unit. A row that was ok and is not, or is gone, is a regression too. Cost is not compared:
 * it depends on the machine.
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export function compareRuns(
  before: string | StoredRun,
  after: string | StoredRun,
  options: { readonly tolerance?: number } = {},
): Comparison {
  const tolerance = options.tolerance ?? 0.02;
  const [a, b] = [rowsOf(before), rowsOf(after)];
  const changes: Change[] = [];
  const missing: string[] = [];
  let compared = 0;
  for (const [name, old] of a) {
    const now = b.get(name);
    if (!now) {
      missing.push(name);
      continue;
    }
    if (old.status !== "ok") continue;
    if (now.status !== "ok") {
      changes.push({ name, metric: "status", before: 1, after: 0, gain: -1, unit: now.status });
      continue;
    }
    for (const [metric, was] of qualities(old)) {
      const is = qualities(now).get(metric);
      if (was.mean === null) continue;
      compared++;
      changes.push({ name, metric, before: was.mean, after: is?.mean ?? null, gain: gainOf(was, is), unit: was.unit });
    }
  }
  const regressions = changes.filter((c) => c.gain < -tolerance).sort((x, y) => x.gain - y.gain);
  const improvements = changes.filter((c) => c.gain > tolerance).sort((x, y) => y.gain - x.gain);
  const added = [...b.keys()].filter((name) => !a.has(name));
  return { tolerance, compared, regressions, improvements, missing, added, ok: regressions.length === 0 && missing.length === 0 };
}

function rowsOf(run: string | StoredRun): Map<string, ReportRow> {
  return new Map(groupCells(typeof run === "string" ? readRun(run) : run).map((row) => [row.key, row]));
}

function qualities(row: ReportRow): Map<string, MetricStat> {
  const all = new Map(Object.entries(row.metrics));
  if (row.retention) all.set("retention", { ...row.retention.kept, unit: "fraction", higherIsBetter: true, note: row.retention.of });
  return all;
}

/** A metric that can no longer be taken is the worst regression there is. */
function gainOf(was: MetricStat, is: MetricStat | undefined): number {
  if (was.mean === null) return 0;
  if (!is || is.mean === null) return Number.NEGATIVE_INFINITY;
  const scale = was.unit === "fraction" ? 1 : was.unit === "points" ? 100 : Math.max(Math.abs(was.mean), 1e-12);
  return ((was.higherIsBetter ? 1 : -1) * (is.mean - was.mean)) / scale;
}
