import { headlineOf, type MetricStat, type ReportRow } from "../aggregate.js";
import { figure } from "../report/figures.js";
import { axisValue, direction, formatCount, formatPart, formatStat, formatValue, spell } from "../report/format.js";
import { el, join, type Markup } from "../report/markup.js";
import { paretoFront, type ScatterPoint, scatterChart } from "../report/scatter.js";
import { CEILING, differs, LEAST_SEEDS, type Ranked, rank, unseparated } from "../separation.js";
import { type Axis, type Entry, notRunEntry, overSeeds, type Sentence } from "./axis.js";
import { trained } from "./trained.js";

/** Within this share of a metric's scale a cheaper method is said to match. */
const LEVEL = 0.005;
/** A cheaper method is worth a word when it comes this near to the best. */
const NEAR = 0.02;

/** The headline metric, whichever it is; CSV, JSON and comparisons have all metrics by their names. */
export const quality: Axis = {
  id: "quality",
  better: "higher",
  read: (cell) => (cell.headline === undefined ? null : (cell.metrics[cell.headline]?.value ?? null)),
  page: { title: "Quality", hint: "the task's headline metric; sorted by percent, then by metrics where lower is better" },
  entry: qualityEntry,
  markdown: {
    quality: (row) => (row.status === "ok" ? formatStat(headlineOf(row), headlineOf(row)?.unit ?? "") : row.status),
    metric: (row) => `${spell(row.headline ?? "")}${headlineOf(row)?.higherIsBetter === false ? " ↓" : ""}`,
  },
  findings: (task, rows) => {
    const ranked = rank(rows);
    const [best, second] = ranked;
    if (!best) return [];
    const first = second ? ranking(task, best, second) : [{ strong: best.row.label }, ` reaches ${said(best)} on ${spell(task)}.`];
    return [first, ...separation(task, rows), ...frugality(best, ranked)];
  },
  taskFigure: priceOfQuality,
  figure: { place: "wide", draw: qualityAgainstSize },
};

function qualityEntry(row: ReportRow): Entry {
  if (row.status !== "ok") return { shown: el("span", { class: `tag ${row.status}` }, row.status), sort: "" };
  const metric = headlineOf(row);
  if (!metric || metric.mean === null) return notRunEntry;
  const value = axisValue(metric.mean, metric.unit);
  return {
    shown: [
      formatStat(metric, metric.unit),
      " ",
      el("small", { title: direction(metric) }, spell(row.headline ?? ""), metric.higherIsBetter ? "" : " ↓"),
    ],
    sort: metric.higherIsBetter ? value : -value,
  };
}

/** "Leads" is said where the interval over seeds leaves out zero; one or two seeds carry no order. */
function ranking(task: string, best: Ranked, second: Ranked): Sentence {
  const [first, other] = [{ strong: best.row.label }, { strong: second.row.label }];
  const next = formatValue(second.mean, second.metric.unit);
  switch (differs(best.row, second.row)) {
    case true:
      return [first, ` leads ${spell(task)} with ${said(best)}; ${second.row.label} follows with ${next}.`];
    case false:
      return [first, " and ", other, ` are level on ${spell(task)}: ${said(best)} and ${next}.`];
    default:
      return [
        first,
        ` has ${said(best)} on ${spell(task)}, ${second.row.label} ${next}: fewer than ${LEAST_SEEDS} seeds, which rank nothing.`,
      ];
  }
}

function said({ row, metric }: Ranked): string {
  return `${formatStat(metric, metric.unit)} ${spell(row.headline!)}${metric.n > 1 ? ` (mean ± sd of ${metric.n} seeds)` : ""}`;
}

/** What the task cannot tell apart, where that is most of its methods. */
function separation(task: string, rows: readonly ReportRow[]): Sentence[] {
  const found = unseparated(rows);
  if (!found) return [];
  const names = found.rows.map((r) => r.label).join(", ");
  const why = found.why === "ceiling" ? `are above ${formatValue(CEILING, "fraction")}` : "lie within one standard error of each other";
  return [[{ strong: "Does not separate" }, ` on ${spell(task)}: ${names} (${found.rows.length} of ${found.of} methods) ${why}.`]];
}

/** The method with the fewest trained parameters that comes near the best, if that is less than half of its. */
function frugality(best: Ranked, ranked: readonly Ranked[]): Sentence[] {
  const size = ({ row }: Ranked): number => overSeeds(trained, row).mean ?? 0;
  const gap = (other: Ranked): number => distance(best.metric, best.mean, other.mean);
  const [frugal] = ranked.filter((r) => r !== best && gap(r) <= NEAR && size(r) > 0).sort((a, b) => size(a) - size(b));
  if (!frugal || size(frugal) >= size(best) / 2) return [];
  const { unit } = best.metric;
  const near = unit === "fraction" || unit === "points" ? `${(100 * gap(frugal)).toFixed(1)} points` : formatPart(gap(frugal));
  return [
    [
      { strong: frugal.row.label },
      ` ${gap(frugal) <= LEVEL ? "matches that" : `comes within ${near} of it`} and trains ${formatCount(size(frugal))} parameters, ${formatPart(size(frugal) / size(best))} of ${best.row.label}’s.`,
    ],
  ];
}

function distance({ unit }: MetricStat, a: number, b: number): number {
  const scale = unit === "fraction" ? 1 : unit === "points" ? 100 : Math.max(Math.abs(a), 1e-12);
  return Math.abs(a - b) / scale;
}

/** Headlines that are shares stand in one figure, in percent. */
function isShare({ unit }: MetricStat): boolean {
  return unit === "fraction" || unit === "points";
}

/** Rows that have a share as headline and a number of trained parameters. */
function pointsOf(rows: readonly ReportRow[]): readonly ScatterPoint[] {
  return rows.flatMap((row) => {
    const metric = headlineOf(row);
    const { mean: size } = overSeeds(trained, row);
    if (!metric || metric.mean === null || size === null || !isShare(metric)) return [];
    return [
      {
        paradigm: row.paradigm,
        label: row.label,
        x: size,
        y: axisValue(metric.mean, metric.unit),
        sd: metric.sd === null ? null : axisValue(metric.sd, metric.unit),
        title: `${row.label} on ${spell(row.task)}: ${formatStat(metric, metric.unit)} ${spell(row.headline!)}, ${formatCount(size)} trained parameters`,
      },
    ];
  });
}

/** Fewer points have no front worth drawing. */
const LEAST_POINTS = 4;

/** What more trained parameters buy on one task: its points with their Pareto front. */
function priceOfQuality(rows: readonly ReportRow[]): Markup | undefined {
  const points = pointsOf(rows).filter((p) => p.x > 0);
  if (points.length < LEAST_POINTS) return undefined;
  const name = spell(rows[0]!.headline!);
  const titles = { label: `${name} against trained parameters`, xTitle: "trained parameters (log)", yTitle: `${name}, %` };
  const best = paretoFront(points).map((p) => p.label);
  return figure(
    "What it costs",
    scatterChart(points, { ...titles, width: 400, height: 340, front: true }),
    `Dashed: nothing with fewer trained parameters is better (${best.join(", ")}).`,
  );
}

/** Quality in percent against trained parameters. */
function qualityAgainstSize(rows: readonly ReportRow[]): Markup {
  const points = pointsOf(rows);
  if (points.length === 0) return el("p", { class: "soft" }, "No method has both a percentage and a number of trained parameters yet.");
  const titles = { label: "Quality against trained parameters", xTitle: "trained parameters (log)", yTitle: "headline metric, %" };
  const others = rows.filter((row) => headlineOf(row) && !isShare(headlineOf(row)!)).map((row) => spell(row.task));
  const apart = others.length > 0 ? ` Not in it, because the metric is no percentage: ${[...new Set(others)].join(", ")}.` : "";
  return figure(
    titles.label,
    join([
      el("div", { class: "only-wide" }, scatterChart(points, { ...titles, width: 1060, height: 440 })),
      el("div", { class: "only-narrow" }, scatterChart(points, { ...titles, width: 360, height: 400 })),
    ]),
    `Up is better, left is smaller: the upper left corner is where one wants to be. Tasks differ, so compare marks of one shape. At 0 stand methods that train nothing.${apart}`,
    "wide",
  );
}
