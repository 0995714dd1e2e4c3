import type { Paradigm } from "@lfm/core";
import { svg, textWidth, tickText, yAxis } from "./frame.js";
import { el, type Markup } from "./markup.js";
import { paradigmMark } from "./palette.js";
import { linearScale, logScale, niceDomain } from "./scale.js";

export interface ScatterPoint {
  readonly paradigm: Paradigm;
  readonly label: string;
  /** ≥ 0; zero has a column of its own left of the log axis. */
  readonly x: number;
  readonly y: number;
  readonly sd: number | null;
  readonly title: string;
}

export interface ScatterOptions {
  readonly label: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly width: number;
  readonly height: number;
  /** Draws the Pareto front: the points than which none is both smaller and higher. */
  readonly front?: boolean;
}

interface Box {
  readonly x0: number;
  readonly x1: number;
  readonly y0: number;
  readonly y1: number;
}

/** Quality over a log axis of size, marks and colours by paradigm, labelled where there is room. */
export function scatterChart(points: readonly ScatterPoint[], options: ScatterOptions): Markup {
  const { width, height } = options;
  const [left, right, top, bottom] = [44, width - 14, 34, height - 44];
  const positive = points.map((p) => p.x).filter((v) => v > 0);
  const hasZero = positive.length < points.length;
  const axisLeft = hasZero ? left + Math.min(90, width * 0.16) : left + 12;
  const zeroAt = left + (axisLeft - left) * 0.36;
  const domain: [number, number] = positive.length > 0 ? [Math.min(...positive) / 1.8, Math.max(...positive) * 1.8] : [1, 10];
  const x = logScale(domain, [axisLeft, right]);
  const lows = points.map((p) => p.y - (p.sd ?? 0));
  const highs = points.map((p) => p.y + (p.sd ?? 0));
  const [low, roomy] = niceDomain(Math.min(...lows), Math.max(...highs), 5);
  const high = Math.max(...points.map((p) => p.y)) <= 100 ? Math.min(roomy, 100) : roomy;
  // room for labels below the lowest mark
  const y = linearScale([low, high], [bottom - 14, top]);
  const placed = points.map((p) => ({ p, px: p.x > 0 ? x(p.x) : zeroAt, py: y(p.y) }));
  const taken: Box[] = placed.map(({ px, py }) => ({ x0: px - 6, x1: px + 6, y0: py - 6, y1: py + 6 }));
  return svg(
    width,
    height,
    options.label,
    yAxis(y, left, right, options.yTitle, 6),
    x
      .ticks(width < 500 ? 4 : 7)
      .map((v) => [
        el("line", { class: "grid", x1: x(v), x2: x(v), y1: top, y2: bottom }),
        el("text", { class: "tick", x: x(v), y: bottom + 17, "text-anchor": "middle" }, tickText(v, x)),
      ]),
    el("line", { class: "base", x1: axisLeft, x2: right, y1: bottom, y2: bottom }),
    hasZero
      ? [
          el("text", { class: "tick", x: zeroAt, y: bottom + 17, "text-anchor": "middle" }, "0"),
          el("line", { class: "base", x1: left, x2: axisLeft - 12, y1: bottom, y2: bottom }),
          el("path", { class: "base", d: `M${axisLeft - 14} ${bottom + 5}l5 -10M${axisLeft - 8} ${bottom + 5}l5 -10` }),
        ]
      : undefined,
    el("text", { class: "axis", x: right, y: bottom + 36, "text-anchor": "end" }, options.xTitle),
    options.front ? frontLine(placed) : undefined,
    placed.map(({ p, px }) =>
      p.sd !== null && p.sd > 0
        ? el("line", { class: "error", x1: px, x2: px, y1: y(p.y - p.sd), y2: Math.max(y(p.y + p.sd), top) })
        : undefined,
    ),
    placed.map(({ p, px, py }) => paradigmMark(p.paradigm, px, py, 5.5, { class: "mark" }, p.title)),
    placed.map(({ p, px, py }) => placeLabel(p.label, px, py, taken, { x0: left, x1: width, y0: top - 8, y1: bottom })),
  );
}

/** The points that no other beats in both, from the smallest on: each is higher than all before it. */
export function paretoFront<P extends Pick<ScatterPoint, "x" | "y">>(points: readonly P[]): readonly P[] {
  let highest = Number.NEGATIVE_INFINITY;
  const sorted = [...points].sort((a, b) => a.x - b.x || b.y - a.y);
  return sorted.filter(({ y }) => {
    const better = y > highest;
    highest = Math.max(highest, y);
    return better;
  });
}

/** Steps: between two points of the front nothing better is known than the smaller one. */
function frontLine(placed: readonly { readonly p: ScatterPoint; readonly px: number; readonly py: number }[]): Markup | undefined {
  const front = paretoFront(placed.map(({ p, px, py }) => ({ ...p, px, py })));
  const [first, ...rest] = front;
  if (!first || rest.length === 0) return undefined;
  const d = rest.map(({ px, py }) => `H${px}V${py}`).join("");
  return el("path", { class: "front", d: `M${first.px} ${first.py}${d}` });
}

/** Right, left, above or below the mark, wherever nothing lies yet; nowhere when all is full: the tooltip still has it. */
function placeLabel(text: string, px: number, py: number, taken: Box[], within: Box): Markup | undefined {
  const width = textWidth(text, 11);
  const spots: readonly (readonly [number, number, "start" | "end" | "middle"])[] = [
    [px + 9, py + 4, "start"],
    [px - 9, py + 4, "end"],
    [px, py - 10, "middle"],
    [px, py + 18, "middle"],
    [px + 8, py - 8, "start"],
    [px + 8, py + 15, "start"],
    [px - 8, py - 8, "end"],
    [px - 8, py + 15, "end"],
  ];
  for (const [tx, ty, anchor] of spots) {
    const x0 = anchor === "start" ? tx : anchor === "end" ? tx - width : tx - width / 2;
    const box = { x0, x1: x0 + width, y0: ty - 10, y1: ty + 3 };
    if (box.x0 < within.x0 || box.x1 > within.x1 || box.y0 < within.y0 || box.y1 > within.y1) continue;
    if (taken.some((b) => b.x0 < box.x1 && b.x1 > box.x0 && b.y0 < box.y1 && b.y1 > box.y0)) continue;
    taken.push(box);
    return el("text", { class: "name", x: tx, y: ty, "text-anchor": anchor }, text);
  }
  return undefined;
}
