import { formatNumber } from "./format.js";
import { fitText, textWidth } from "./frame.js";
import { el, join, type Markup } from "./markup.js";

export interface HeatMap {
  readonly title: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** By row and column; null where nothing was measured. */
  readonly values: readonly (readonly (number | null)[])[];
  /** What is drawn in the full colour, positive; default the largest value. Less than nothing takes the other colour. */
  readonly upTo?: number;
  /** What a value says in words. */
  readonly say?: (value: number) => string;
}

const CELL = { width: 22, height: 20 };
const TOP = 34;
const BOTTOM = 24;
/** Names of rows are cut where they are wider. */
const NAMES = 160;

/** Width and height of the drawing, in pixels. */
export function heatMapSize({ rows, columns }: Pick<HeatMap, "rows" | "columns">): { readonly width: number; readonly height: number } {
  return { width: namesWidth(rows) + columns.length * CELL.width + 14, height: TOP + rows.length * CELL.height + BOTTOM };
}

function namesWidth(rows: readonly string[]): number {
  return Math.min(NAMES, Math.max(...rows.map((r) => textWidth(r, 11)))) + 12;
}

/** Cells whose colour is the deeper the larger their value; each says its value to the pointer. For a drawing that may hold several. */
export function heatMapParts({ title, rows, columns, values, upTo, say = formatNumber }: HeatMap): Markup {
  const left = namesWidth(rows);
  const most = upTo ?? Math.max(...values.flat().map((v) => v ?? 0), Number.MIN_VALUE);
  const shown = Math.max(1, Math.ceil(columns.length / 16));
  return join([
    el("text", { class: "axis", x: left, y: 18 }, title),
    rows.map((row, i) =>
      el("text", { class: "tick", x: left - 6, y: TOP + (i + 0.5) * CELL.height + 4, "text-anchor": "end" }, fitText(row, NAMES, 11)),
    ),
    values.map((row, i) =>
      row.map((value, j) =>
        el(
          "rect",
          {
            class: value === null ? "none" : undefined,
            x: left + j * CELL.width,
            y: TOP + i * CELL.height,
            width: CELL.width - 1,
            height: CELL.height - 1,
            fill: value === null ? undefined : value < 0 ? "var(--s5)" : "var(--s0)",
            "fill-opacity": value === null ? undefined : Math.min(1, Math.abs(value) / most),
          },
          el("title", {}, `${rows[i]}, ${columns[j]}: ${value === null ? "not run" : say(value)}`),
        ),
      ),
    ),
    columns.map((column, j) =>
      j % shown === 0
        ? el(
            "text",
            { class: "tick", x: left + (j + 0.5) * CELL.width, y: TOP + rows.length * CELL.height + 14, "text-anchor": "middle" },
            column,
          )
        : undefined,
    ),
  ]);
}
