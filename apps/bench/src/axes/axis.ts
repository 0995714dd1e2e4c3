import { type ReportRow, type Stat, statOf } from "../aggregate.js";
import { formatCount, formatStat, notRun } from "../report/format.js";
import { type Child, el, type Markup } from "../report/markup.js";
import type { CellSummary } from "../summary.js";

/** A sentence; strong parts are names and verdicts. */
export type Sentence = readonly (string | { readonly strong: string })[];

/** A cell of a table: what it shows, and what it sorts by ("" stands last either way). */
export interface Entry {
  readonly shown: Child;
  readonly sort: string | number;
}

/**
 * What methods of all paradigms are measured by: gain, cost, what is kept. Everything that the page, its figures and findings, Markdown, CSV,
 * JSON and comparisons know of an axis stands in its file; they go over a list of axes and show those parts that it has.
 */
export interface Axis {
  /** Its key in report.json and its name where runs are compared. */
  readonly id: string;
  /** How it is written; undefined where that differs from row to row. */
  readonly unit?: "fraction" | "count" | "bytes" | "ms";
  readonly better?: "higher" | "lower";
  /** What stands in a cell's result; null means not run. */
  read(cell: CellSummary): number | null;
  /** What stands for a row, from its ok cells. Default: mean and deviation. */
  aggregate?(values: readonly (number | null)[]): Stat;
  /** A change to the worse is a regression. Without it, it is cost and depends on the machine. */
  readonly compared?: true;
  /** Its column in the page's table; "text" is neither aligned nor sorted as a number. */
  readonly page?: { readonly title: string; readonly hint: string; readonly kind?: "text" };
  /** What stands in that column, where it is more than the value. */
  entry?(row: ReportRow): Entry;
  /** Heading of its column in Markdown, or several columns with their texts. */
  readonly markdown?: string | Readonly<Record<string, (row: ReportRow) => string>>;
  /** A table of its own after that of all rows in Markdown. */
  appendix?(rows: readonly ReportRow[]): Appendix | undefined;
  /** Its column in report.csv; without one it stands neither there nor in report.json. */
  readonly csv?: string;
  /** What report.json holds of a row. Default: the mean. */
  json?(row: ReportRow): unknown;
  /** Title of a tile in the page's head, which shows the sum over all cells. */
  readonly tile?: string;
  /** What it says of the rows of a task. */
  findings?(task: string, rows: readonly ReportRow[]): readonly Sentence[];
  /** Drawn over the ok rows of one task, where they say something. */
  taskFigure?(rows: readonly ReportRow[]): Markup | undefined;
  /** Drawn over the ok rows of a run; "wide" stands above the others, "last" after them. */
  readonly figure?: { readonly place?: "wide" | "last"; draw(rows: readonly ReportRow[]): Markup | undefined };
}

export interface Appendix {
  readonly title: string;
  readonly head: readonly string[];
  readonly lines: readonly (readonly string[])[];
}

/** An axis over the seeds of a row. */
export function overSeeds(axis: Axis, row: ReportRow): Stat {
  const values = row.results.filter((r) => r.status === "ok").map((r) => axis.read(r));
  return axis.aggregate?.(values) ?? statOf(values);
}

/** "95.1 % ± 0.4", "3.20 s ± 0.1"; what is counted stands without its deviation. */
export function longText(axis: Axis, stat: Stat): string {
  return axis.unit === "ms" ? formatStat(stat, axis.unit) : shortText(axis, stat);
}

/** Only shares with their deviation. */
export function shortText({ unit }: Axis, stat: Stat): string {
  if (unit === "count") return formatCount(stat.mean);
  return formatStat(unit === "fraction" ? stat : { ...stat, sd: null }, unit ?? "");
}

export function entryOf(axis: Axis, row: ReportRow): Entry {
  if (axis.entry) return axis.entry(row);
  const stat = overSeeds(axis, row);
  return stat.mean === null ? notRunEntry : { shown: longText(axis, stat), sort: stat.mean };
}

export const notRunEntry: Entry = { shown: el("span", { class: "dim" }, notRun), sort: "" };
