import { headlineOf, type MetricStat, type ReportRow } from "./aggregate.js";

/** Seeds that an interval takes at the least. */
export const LEAST_SEEDS = 3;
/** A share of right answers above this leaves no room to tell methods apart. */
export const CEILING = 0.99;

/** A row with a value of its headline metric. */
export interface Ranked {
  readonly row: ReportRow;
  readonly metric: MetricStat;
  readonly mean: number;
}

/** Rows that have a result, the best first. */
export function rank(rows: readonly ReportRow[]): readonly Ranked[] {
  return rows
    .flatMap((row): Ranked[] => {
      const metric = headlineOf(row);
      return row.status === "ok" && metric && metric.mean !== null ? [{ row, metric, mean: metric.mean }] : [];
    })
    .sort((a, b) => (a.metric.higherIsBetter ? b.mean - a.mean : a.mean - b.mean));
}

/**
 * Whether the 95 % interval of the difference of two rows' headline metric leaves out zero: Student's over the differences where both have the
 * same seeds, Welch's otherwise.
 * undefined: fewer than {@link LEAST_SEEDS} seeds carry no interval.
 */
export function differs(a: ReportRow, b: ReportRow): boolean | undefined {
  const [x, y] = [valuesOf(a), valuesOf(b)];
  if (Math.min(x.size, y.size) < LEAST_SEEDS) return undefined;
  if (x.size === y.size && [...x.keys()].every((seed) => y.has(seed))) {
    const differences = [...x].map(([seed, value]) => value - y.get(seed)!);
    return outside(mean(differences), variance(differences) / differences.length, differences.length - 1);
  }
  const [u, v] = [[...x.values()], [...y.values()]];
  const [su, sv] = [variance(u) / u.length, variance(v) / v.length];
  const freedom = (su + sv) ** 2 / (su ** 2 / (u.length - 1) + sv ** 2 / (v.length - 1));
  return outside(mean(u) - mean(v), su + sv, Number.isNaN(freedom) ? 1 : freedom);
}

/** What of a group of cells (one task) its headline metric cannot tell apart, where that is more than half of its methods. */
export interface Unseparated {
  readonly why: "ceiling" | "standard error";
  readonly rows: readonly ReportRow[];
  readonly of: number;
}

/**
 * More than half of the methods above {@link CEILING}, or more than half within one standard error of each other (each pair within that of
 * its difference, over seeds). A task with one method has nothing to tell apart.
 */
export function unseparated(rows: readonly ReportRow[]): Unseparated | undefined {
  const ranked = rank(rows);
  const of = ranked.length;
  if (of < 2) return undefined;
  const high = ranked.filter(({ metric, mean }) => metric.higherIsBetter && mean > CEILING * scaleOf(metric));
  if (2 * high.length > of) return { why: "ceiling", rows: high.map((r) => r.row), of };
  // In the order of means, what lies within one standard error is a run of neighbours.
  const near = ranked.map((_, from) => {
    let to = from + 1;
    while (to < of && ranked.slice(from, to).every((one) => withinStandardError(one, ranked[to]!))) to++;
    return ranked.slice(from, to);
  });
  const largest = near.reduce((a, b) => (b.length > a.length ? b : a));
  return 2 * largest.length > of ? { why: "standard error", rows: largest.map((r) => r.row), of } : undefined;
}

function withinStandardError(a: Ranked, b: Ranked): boolean {
  const error = ({ metric }: Ranked): number => (metric.sd ?? 0) ** 2 / metric.n;
  return Math.abs(a.mean - b.mean) <= Math.sqrt(error(a) + error(b));
}

/** What "everything right" is in the metric's unit; Infinity where there is no such number. */
function scaleOf({ unit }: MetricStat): number {
  return unit === "fraction" ? 1 : unit === "points" ? 100 : Number.POSITIVE_INFINITY;
}

function valuesOf(row: ReportRow): ReadonlyMap<number, number> {
  return new Map(
    row.results.flatMap((r): [number, number][] => {
      const value = row.headline === undefined ? null : (r.metrics[row.headline]?.value ?? null);
      return r.status === "ok" && value !== null ? [[r.seed, value]] : [];
    }),
  );
}

/** 97.5 % quantiles of Student's t with 1, 2 … degrees of freedom. */
const QUANTILES = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086,
];

/** @param square squared standard error of the difference; freedom is rounded down, which makes the interval wider */
function outside(difference: number, square: number, freedom: number): boolean {
  const quantile = QUANTILES[Math.min(QUANTILES.length, Math.max(1, Math.floor(freedom))) - 1]!;
  return Math.abs(difference) > quantile * Math.sqrt(square);
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function variance(values: readonly number[]): number {
  const m = mean(values);
  return values.reduce((s, v) => s + (v - m) ** 2, 0) / (values.length - 1);
}
