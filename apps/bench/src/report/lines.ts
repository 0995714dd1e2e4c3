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
}

export interface LineChartOptions {
  readonly label: string;
  readonly xTitle: string;
  readonly yTitle: string;
  /** Horizontal line at a value, e.g. a threshold. */
  readonly threshold?: number;
  readonly width?: number;
  readonly height?: number;
}

/** Most points that a line is drawn with. */
const MOST = 240;

/** A small line chart. The vertical axis becomes logarithmic where positive values span more than two decades. */
export function lineChart(series: readonly Series[], options: LineChartOptions): Markup {
  const { width = 360, height = 210, threshold } = options;
  const plotted = series.map((s) => ({ ...s, points: thin(s.points) })).filter((s) => s.points.length > 0);
  const xs = plotted.flatMap((s) => s.points.map((p) => p[0]));
  const ys = [...plotted.flatMap((s) => s.points.map((p) => p[1])), ...(threshold === undefined ? [] : [threshold])];
  const [left, right, top, bottom] = [46, width - 12, 28, height - 38];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const isLog = low > 0 && high / low > 100;
  const y = isLog ? logScale([low, high], [bottom, top]) : linearScale(niceDomain(low, high, 4), [bottom, top]);
  const x = linearScale([Math.min(...xs), Math.max(...xs)], [left, right]);
  return svg(
    width,
    height,
    options.label,
    yAxis(y, left, right, isLog ? `${options.yTitle} (log)` : options.yTitle),
    xAxis(x, top, bottom, options.xTitle),
    threshold === undefined ? undefined : el("line", { class: "threshold", x1: left, x2: right, y1: y(threshold), y2: y(threshold) }),
    plotted.map((s) => {
      const last = s.points[s.points.length - 1]!;
      const title = el("title", {}, `${s.name}: ${formatNumber(last[1])} at ${formatNumber(last[0])}`);
      const path = s.points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ");
      return el(
        "g",
        { class: "series" },
        title,
        el("polyline", { points: path, stroke: seriesColor(s.index), "stroke-dasharray": seriesDash(s.index) }),
        el("circle", { cx: x(last[0]), cy: y(last[1]), r: 3, fill: seriesColor(s.index) }),
      );
    }),
  );
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

/** The mean of curves that share their steps; the first one where they do not. */
export function meanCurve(curves: readonly Points[]): Points {
  const [first] = curves;
  if (!first) return [];
  const aligned = curves.every((c) => c.length === first.length && c.every((p, i) => p[0] === first[i]![0]));
  if (!aligned) return first;
  return first.map(([x], i) => [x, curves.reduce((sum, c) => sum + c[i]![1], 0) / curves.length] as const);
}
