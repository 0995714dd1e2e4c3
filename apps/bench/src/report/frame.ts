import { formatCount, formatNumber } from "./format.js";
import { type Child, el, join, type Markup } from "./markup.js";
import type { Scale } from "./scale.js";

/** An inline SVG with a name for screen readers. */
export function svg(width: number, height: number, label: string, ...children: readonly Child[]): Markup {
  return el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...children);
}

/** Text of an axis tick. */
export function tickText(value: number, scale: Scale): string {
  return scale.kind === "log" || Math.abs(value) >= 10_000
    ? value >= 1
      ? formatCount(value)
      : formatNumber(value)
    : formatNumber(value)
        .replace(/(\.\d*?)0+$/, "$1")
        .replace(/\.$/, "");
}

/** Horizontal grid lines with their values at the left. */
export function yAxis(scale: Scale, left: number, right: number, title: string, count = 4): Markup {
  const top = Math.min(...scale.range);
  return join([
    scale
      .ticks(count)
      .map((v) => [
        el("line", { class: "grid", x1: left, x2: right, y1: scale(v), y2: scale(v) }),
        el("text", { class: "tick", x: left - 6, y: scale(v) + 3.5, "text-anchor": "end" }, tickText(v, scale)),
      ]),
    title ? el("text", { class: "axis", x: left, y: top - 10, "text-anchor": "start" }, title) : undefined,
  ]);
}

/** A base line with ticks below; vertical grid lines where asked for. */
export function xAxis(
  scale: Scale,
  top: number,
  bottom: number,
  title: string,
  options: { readonly count?: number; readonly grid?: boolean } = {},
): Markup {
  const [left, right] = scale.range;
  return join([
    scale
      .ticks(options.count ?? 4)
      .map((v) => [
        options.grid
          ? el("line", { class: "grid", x1: scale(v), x2: scale(v), y1: top, y2: bottom })
          : el("line", { class: "base", x1: scale(v), x2: scale(v), y1: bottom, y2: bottom + 4 }),
        el("text", { class: "tick", x: scale(v), y: bottom + 16, "text-anchor": "middle" }, tickText(v, scale)),
      ]),
    el("line", { class: "base", x1: left, x2: right, y1: bottom, y2: bottom }),
    title ? el("text", { class: "axis", x: right, y: bottom + 31, "text-anchor": "end" }, title) : undefined,
  ]);
}

/** About how wide a text is in the charts' font. */
export function textWidth(text: string, size = 11.5): number {
  return text.length * size * 0.58;
}

/** Cuts a text that is wider than `width`. */
export function fitText(text: string, width: number, size = 11.5): string {
  const most = Math.max(3, Math.floor(width / (size * 0.58)));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
