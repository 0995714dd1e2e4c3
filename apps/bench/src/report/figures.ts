import { headlineOf, type ReportRow } from "../aggregate.js";
import { type Axis, longText, overSeeds, shortText } from "../axes/axis.js";
import { type Bar, type BarChartOptions, barChart } from "./bars.js";
import { axisUnit, axisValue, direction, formatBytes, formatStat, notRun, spell } from "./format.js";
import { coincide, lineChart, meanCurve, type Series } from "./lines.js";
import { type Child, el, type Markup } from "./markup.js";
import { paradigmColor, paradigmMark, paradigmTitles, seriesColor, seriesDash } from "./palette.js";

/** A figure with a heading and a caption that says what to see. */
export function figure(title: string, content: Child, caption: Child, className?: string): Markup {
  return el("figure", { class: className }, title ? el("h4", {}, title) : "", content, el("figcaption", {}, caption));
}

/** Colour and dash of each method of a task, in order. */
export function methodLegend(rows: readonly ReportRow[]): Markup {
  return lineLegend(rows.map((row, index) => ({ name: row.label, index })));
}

function lineLegend(lines: readonly Pick<Series, "name" | "index">[]): Markup {
  return el(
    "ul",
    { class: "legend" },
    lines.map(({ name, index }) => el("li", {}, lineKey(seriesColor(index), seriesDash(index)), name)),
  );
}

/** A piece of a line, for legends. */
export function lineKey(color: string, dash: string | undefined): Markup {
  return el(
    "svg",
    { width: 26, height: 10, viewBox: "0 0 26 10", "aria-hidden": "true" },
    el("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: color, "stroke-width": 2.4, "stroke-dasharray": dash }),
  );
}

export function paradigmLegend(rows: readonly ReportRow[]): Markup {
  const present = [...new Set(rows.map((r) => r.paradigm))];
  return el(
    "ul",
    { class: "legend" },
    present.map((p) =>
      el(
        "li",
        {},
        el("svg", { width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" }, paradigmMark(p, 7, 7, 5)),
        paradigmTitles[p],
      ),
    ),
  );
}

export interface AxisFigureOptions extends BarChartOptions {
  readonly title: string;
  readonly caption: string;
  /** Tooltip of a bar, where it says more than the value. */
  hover?(row: ReportRow): string;
}

/** One bar or dot a row that has a value on the axis; undefined where none has. */
export function axisFigure(axis: Axis, rows: readonly ReportRow[], options: AxisFigureOptions): Markup | undefined {
  const { title, caption, hover, ...chart } = options;
  const scaled = (value: number): number => (axis.unit === "ms" ? value / 1000 : axisValue(value, axis.unit ?? ""));
  const shown = rows.map((row) => ({ row, stat: overSeeds(axis, row) })).filter(({ stat }) => stat.mean !== null);
  const bars = shown.map(({ row, stat }): Bar => {
    // one method may stand here with several tasks
    const isTwice = shown.some((other) => other.row !== row && other.row.label === row.label);
    return {
      label: isTwice ? `${row.label}, ${spell(row.task)}` : row.label,
      value: scaled(stat.mean!),
      sd: stat.sd === null ? null : scaled(stat.sd),
      text: shortText(axis, stat),
      color: paradigmColor(row.paradigm),
      title: hover?.(row) ?? `${row.label} on ${spell(row.task)}: ${longText(axis, stat)}`,
    };
  });
  return bars.length === 0 ? undefined : figure(title, barChart(bars, { width: 400, ...chart }), caption);
}

/** The headline metric of one task, a bar a method. */
export function headlineChart(rows: readonly ReportRow[]): Markup | undefined {
  const sample = rows.map(headlineOf).find((m) => m !== undefined);
  if (!sample) return undefined;
  const name = spell(rows[0]!.headline ?? "");
  const bars = rows.map((row, i): Bar => {
    const metric = headlineOf(row);
    const mean = metric?.mean ?? null;
    return {
      label: row.label,
      value: mean === null ? null : axisValue(mean, sample.unit),
      sd: metric?.sd == null ? null : axisValue(metric.sd, sample.unit),
      text:
        row.status === "ok"
          ? formatStat(metric, sample.unit)
          : row.status === "failed"
            ? "failed"
            : row.status === "skipped"
              ? "skipped"
              : notRun,
      color: seriesColor(i),
      title: `${row.label}: ${formatStat(metric, sample.unit)} ${name}`,
    };
  });
  const end = sample.unit === "fraction" || sample.unit === "points" ? 100 : undefined;
  const unit = axisUnit(sample.unit);
  return barChart(bars, {
    label: `${name} by method`,
    xTitle: `${name}${unit ? `, ${unit}` : ""} (${direction(sample)})`,
    ...(end ? { end } : {}),
  });
}

/** Most memory of a cell's own process, where cells have one, beside what was planned. */
export function memoryChart(rows: readonly ReportRow[]): Markup | undefined {
  const MIB = 2 ** 20;
  const bars = rows.flatMap((row, i): Bar[] => {
    const { peakMemory } = row.metrics;
    if (!peakMemory || peakMemory.mean === null) return [];
    const text = formatStat(peakMemory, peakMemory.unit);
    const sd = peakMemory.sd === null ? null : peakMemory.sd / MIB;
    return [{ label: row.label, value: peakMemory.mean / MIB, sd, text, color: seriesColor(i), title: `${row.label}: ${text}` }];
  });
  if (bars.length === 0) return undefined;
  const planned = rows.map((r) => r.metrics.plannedMemory?.mean ?? null).find((v) => v !== null);
  return barChart(bars, {
    label: "Peak memory by method",
    xTitle: "MiB (lower is better)",
    marks:
      planned === undefined || planned === null ? [] : [{ value: planned / MIB, title: `planned: ${formatBytes(planned)}`, dash: "4 3" }],
  });
}

/** The name of a curve: "loss", "accuracy by share of noise" with an axis of its own, or "loss by α: matched", one of several in a panel. */
function partsOfName(name: string): { readonly what: string; readonly over: string | undefined; readonly series: string | undefined } {
  const [head, series] = name.split(": ") as [string, string | undefined];
  const [what, over] = head.split(" by ") as [string, string | undefined];
  return { what, over, series };
}

/** Small multiples: a panel for each curve that methods of a task recorded; one for each method where its curves are to be compared. */
export function curveFigures(rows: readonly ReportRow[]): readonly Markup[] {
  const names = [...new Set(rows.flatMap((r) => Object.keys(r.curves)))];
  const single = names.filter((name) => partsOfName(name).series === undefined);
  const heads = [...new Set(names.filter((name) => !single.includes(name)).map((name) => name.split(": ")[0]!))];
  return [...heads.flatMap((head) => comparedCurves(rows, head)), ...single.flatMap((name) => curveFigure(rows, name))];
}

/** An axis of its own that spans this many times its beginning is logarithmic. */
const MANIFOLD = 50;

function curveFigure(rows: readonly ReportRow[], name: string): readonly Markup[] {
  const series = rows.flatMap((row, index) => {
    const { points } = meanCurve(row.curves[name] ?? []);
    return points.length < 2 ? [] : [{ name: row.label, points, index }];
  });
  if (series.length === 0) return [];
  const { what, over } = partsOfName(name);
  const xs = series.flatMap((s) => s.points.map((p) => p[0]));
  const logX = over !== undefined && Math.min(...xs) > 0 && Math.max(...xs) >= MANIFOLD * Math.min(...xs);
  const titles = { xTitle: `${over ?? "step"}${logX ? " (log)" : ""}`, yTitle: spell(what) };
  const chart = lineChart(series, { label: `${what} over ${over ?? "training"}`, ...titles, logX });
  const who = series.length === 1 ? series[0]!.name : `${series.length} methods`;
  const same = series.filter((s) => series.some((other) => other !== s && coincide(s, other))).map((s) => s.name);
  const note = same.length > 0 ? ` ${same.join(", ")} coincide: the wider lines lie below.` : "";
  return [figure(over === undefined ? `${spell(what)} while it learns` : name, chart, `${who}; the dot is the last value.${note}`)];
}

/** The curves of a head like "loss by α", a panel a method, all on the same axis: the first in grey, the others in the method's colour and on. */
function comparedCurves(rows: readonly ReportRow[], head: string): readonly Markup[] {
  const { what, over } = partsOfName(head);
  const panels = rows.flatMap((row, index) => {
    const series = Object.keys(row.curves)
      .filter((name) => name.startsWith(`${head}: `))
      .map((name, i) => ({ name: partsOfName(name).series!, index: i === 0 ? GREY : index + i - 1, ...meanCurve(row.curves[name]!) }));
    return series.length === 0 ? [] : [{ row, series }];
  });
  const upTo = Math.max(...panels.flatMap((p) => p.series.flatMap((s) => [...s.points, ...(s.band?.high ?? [])].map((point) => point[1]))));
  return panels.map(({ row, series }) => {
    const chart = lineChart(series, { label: `${head}: ${row.label}`, xTitle: over ?? "step", yTitle: spell(what), upTo });
    const points = series.filter((s) => s.points.length === 1).map((s) => `, and the ${s.name}`);
    const seeds = series.some((s) => s.band) ? `Means of ${row.seeds.length} seeds, bands of one standard deviation; dots` : "Dots";
    return figure(`${row.label}: ${head}`, [lineLegend(series), chart], `${seeds} are the ends${points.join("")}.`);
  });
}

/** The last colour of the palette, which is none. */
const GREY = 6;
