import { statOf } from "../aggregate.js";
import { formatNumber } from "./format.js";
import { svg, xAxis, yAxis } from "./frame.js";
import { el, type Markup } from "./markup.js";
import { seriesColor, seriesDash } from "./palette.js";
import { linearScale, logScale, niceDomain } from "./scale.js";

export type Points = readonly (readonly [number, number])[];

export interface Series {
  readonly name: string;
  readonly points: Points;
  /** Place in the legend: colour and dash. */
  readonly index: number;
  /** Edges of a band around the points. */
  readonly band?: { readonly low: Points; readonly high: Points };
}

export interface LineChartOptions {
  readonly label: string;
  readonly xTitle: string;
  readonly yTitle: string;
  /** Horizontal line at a value, e.g. a threshold. */
  readonly threshold?: number;
  /** For curves whose two ends are what they are read against: a linear axis, from 0 where no value is below, to this; dots at both ends. */
  readonly upTo?: number;
  /** Positive places whose ratios count: 1, 10, 100. */
  readonly logX?: boolean;
  readonly width?: number;
  readonly height?: number;
}

/** Most points that a line is drawn with. */
const MOST = 240;

/** A small line chart. The vertical axis becomes logarithmic where positive values span more than two decades. */
export function lineChart(series: readonly Series[], options: LineChartOptions): Markup {
  const { width = 360, height = 210, threshold, upTo, logX = false } = options;
  const plotted = series.map((s) => ({ ...s, points: thin(s.points) })).filter((s) => s.points.length > 0);
  const xs = plotted.flatMap((s) => s.points.map((p) => p[0]));
  const ys = [
    ...plotted.flatMap((s) => [...s.points, ...(s.band?.high ?? [])].map((p) => p[1])),
    ...(threshold === undefined ? [] : [threshold]),
  ];
  const [left, right, top, bottom] = [46, width - 12, 28, height - 38];
  const [low, high] = upTo === undefined ? [Math.min(...ys), Math.max(...ys)] : [Math.min(0, ...ys), Math.max(upTo, ...ys)];
  const isLog = upTo === undefined && low > 0 && high / low > 100;
  const y = isLog ? logScale([low, high], [bottom, top]) : linearScale(niceDomain(low, high, 4), [bottom, top]);
  const x = (logX ? logScale : linearScale)([Math.min(...xs), Math.max(...xs)], [left, right]);
  const path = (points: Points): string =>
    points.map(([px, py]) => `${x(px).toFixed(1)},${y(Math.max(y.domain[0], py)).toFixed(1)}`).join(" ");
  return svg(
    width,
    height,
    options.label,
    yAxis(y, left, right, isLog ? `${options.yTitle} (log)` : options.yTitle),
    xAxis(x, top, bottom, options.xTitle),
    threshold === undefined ? undefined : el("line", { class: "threshold", x1: left, x2: right, y1: y(threshold), y2: y(threshold) }),
    plotted.map((s, i) => {
      // Of lines that coincide the first are the widest: those after lie within them.
      const under = plotted.slice(i + 1).filter((other) => coincide(s, other)).length;
      const last = s.points[s.points.length - 1]!;
      const title = el("title", {}, `${s.name}: ${formatNumber(last[1])} at ${formatNumber(last[0])}`);
      return el(
        "g",
        { class: "series" },
        title,
        s.band
          ? el("polygon", { class: "band", points: path([...s.band.low, ...[...s.band.high].reverse()]), fill: seriesColor(s.index) })
          : undefined,
        el("polyline", {
          points: path(s.points),
          stroke: seriesColor(s.index),
          "stroke-dasharray": under > 0 ? undefined : seriesDash(s.index),
          style: under > 0 ? `stroke-width:${1.9 + 3 * under}` : undefined,
        }),
        upTo === undefined ? undefined : el("circle", { cx: x(s.points[0]![0]), cy: y(s.points[0]![1]), r: 3, fill: seriesColor(s.index) }),
        el("circle", { cx: x(last[0]), cy: y(last[1]), r: 3, fill: seriesColor(s.index) }),
      );
    }),
  );
}

/** Whether two curves have the same points, but for what nobody could see. */
export function coincide(a: Pick<Series, "points">, b: Pick<Series, "points">): boolean {
  const range = Math.max(...a.points.map((p) => p[1])) - Math.min(...a.points.map((p) => p[1]));
  const near = ([x, y]: Points[number], other: Points[number] | undefined): boolean =>
    other !== undefined && x === other[0] && Math.abs(y - other[1]) <= 0.005 * range;
  return a.points.length === b.points.length && a.points.every((p, i) => near(p, b.points[i]));
}

/** Means of neighbours where there are more points than pixels; order by x. */
function thin(points: Points): Points {
  const sorted = [...points].sort((a, b) => a[0] - b[0]);
  if (sorted.length <= MOST) return sorted;
  const size = sorted.length / MOST;
  return Array.from({ length: MOST }, (_, i) => {
    const part = sorted.slice(Math.floor(i * size), Math.max(Math.floor(i * size) + 1, Math.floor((i + 1) * size)));
    const mean = (k: 0 | 1): number => part.reduce((sum, p) => sum + p[k], 0) / part.length;
    return [mean(0), mean(1)] as const;
  });
}

/** The mean of curves that share their steps, with a band of one deviation where there are several; the first one alone where they do not. */
export function meanCurve(curves: readonly Points[]): Pick<Series, "points" | "band"> {
  const [first] = curves;
  if (!first) return { points: [] };
  const aligned = curves.every((c) => c.length === first.length && c.every((p, i) => p[0] === first[i]![0]));
  if (!aligned || curves.length < 2) return { points: first };
  const stats = first.map((_, i) => statOf(curves.map((c) => c[i]![1])));
  const at = (sds: number): Points => first.map(([x], i) => [x, stats[i]!.mean! + sds * stats[i]!.sd!] as const);
  return { points: at(0), band: { low: at(-1), high: at(1) } };
}
