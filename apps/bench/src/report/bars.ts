import { fitText, svg, textWidth, xAxis } from "./frame.js";
import { el, type Markup } from "./markup.js";
import { linearScale, logScale, niceDomain } from "./scale.js";

export interface Bar {
  readonly label: string;
  /** null is drawn as "not run". */
  readonly value: number | null;
  /** Half length of the error bar. */
  readonly sd?: number | null;
  /** The value in words, right of the bar. */
  readonly text: string;
  readonly color: string;
  /** Tooltip. */
  readonly title: string;
}

export interface BarChartOptions {
  readonly label: string;
  readonly xTitle: string;
  readonly width?: number;
  /** Logarithmic: values become dots on a thin stem, because a bar without a zero would lie about its length. */
  readonly log?: boolean;
  /** Vertical line at a value, e.g. a threshold. */
  readonly threshold?: number;
  /** Vertical lines at values that all bars are to be compared with. */
  readonly marks?: readonly BarMark[];
  /** The axis ends here when no value lies beyond, e.g. 100 for percent. */
  readonly end?: number;
  /** Height of a bar's row; 25 is roomy, 18 the least. */
  readonly row?: number;
}

export interface BarMark {
  readonly value: number;
  /** Tooltip. */
  readonly title: string;
  readonly dash: string | undefined;
}

/** Horizontal bars with values and error bars. */
export function barChart(bars: readonly Bar[], options: BarChartOptions): Markup {
  const { width = 360, log = false, threshold, marks = [], end, row = 25 } = options;
  const labelWidth = Math.min(width * 0.47, Math.max(...bars.map((b) => textWidth(b.label))) + 14);
  const textRoom = Math.max(...bars.map((b) => textWidth(b.text))) + 12;
  const [left, right, top] = [labelWidth, width - textRoom, 8];
  const bottom = top + bars.length * row;
  const values = bars.flatMap((b) => (b.value === null ? [] : [b.value, b.value + (log ? 0 : (b.sd ?? 0))]));
  const positive = values.filter((v) => v > 0);
  const x =
    log && positive.length > 0
      ? logScale([Math.min(...positive) / 1.6, Math.max(...positive) * 1.2], [left, right])
      : linearScale(
          zeroBased(
            [...values, ...marks.map((m) => m.value), ...(threshold === undefined ? [] : [threshold])],
            end !== undefined && bars.every((b) => (b.value ?? 0) <= end) ? end : undefined,
          ),
          [left, right],
        );
  const origin = x.kind === "log" ? left : x(Math.max(x.domain[0], Math.min(0, x.domain[1])));
  return svg(
    width,
    bottom + 38,
    options.label,
    xAxis(x, top, bottom, options.xTitle, { grid: true, count: right - left < 150 ? 2 : 4 }),
    threshold === undefined ? undefined : el("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: top, y2: bottom }),
    bars.map((bar, i) => {
      const y = top + i * row + row / 2;
      const name = el("text", { class: "name", x: left - 8, y: y + 4, "text-anchor": "end" }, fitText(bar.label, labelWidth - 8));
      const said = (at: number): Markup => el("text", { class: "value", x: at, y: y + 4 }, bar.text);
      if (bar.value === null || (x.kind === "log" && bar.value <= 0))
        return el("g", {}, el("title", {}, bar.title), name, said(marks.length > 0 ? right + 8 : left + 4));
      const at = x(bar.value);
      const [from, to] = at < origin ? [at, origin] : [origin, at];
      const sd = bar.sd ?? 0;
      const errorEnds =
        !log && sd > 0 ? [Math.max(Math.min(...x.range), x(bar.value - sd)), Math.min(Math.max(...x.range), x(bar.value + sd))] : [];
      return el(
        "g",
        {},
        el("title", {}, bar.title),
        name,
        x.kind === "log"
          ? [
              el("line", { class: "stem", x1: left, x2: at, y1: y, y2: y, stroke: bar.color }),
              el("circle", { cx: at, cy: y, r: 4.5, fill: bar.color }),
            ]
          : el("rect", { x: from, y: y - row * 0.28, width: Math.max(1, to - from), height: row * 0.56, rx: 2, fill: bar.color }),
        errorEnds.length === 2
          ? el("path", {
              class: "error",
              d: `M${errorEnds[0]!.toFixed(1)} ${y}H${errorEnds[1]!.toFixed(1)}M${errorEnds[0]!.toFixed(1)} ${y - 4}v8M${errorEnds[1]!.toFixed(1)} ${y - 4}v8`,
            })
          : undefined,
        // In a column of their own where lines would cross them.
        said(marks.length > 0 ? right + 8 : Math.max(at, errorEnds[1] ?? at) + 8),
      );
    }),
    marks.map((m) =>
      el(
        "line",
        { class: "mark-line", x1: x(m.value), x2: x(m.value), y1: top, y2: bottom, "stroke-dasharray": m.dash },
        el("title", {}, m.title),
      ),
    ),
  );
}

function zeroBased(values: readonly number[], end: number | undefined): [number, number] {
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  if (end !== undefined) return [low, end];
  return low === 0 && high === 0 ? [0, 1] : niceDomain(low, high, 4);
}
