import { type ReportRow, type Stat, statOf } from "../aggregate.js";
import { type Bar, type BarMark, barChart } from "./bars.js";
import { figure, lineKey } from "./figures.js";
import { notRun } from "./format.js";
import { el, join, type Markup } from "./markup.js";
import { scrolling } from "./tables.js";

/** One line of the table: a method, or what methods are measured against. */
export interface TaskLine {
  readonly label: string;
  readonly isReference: boolean;
  readonly status: ReportRow["status"];
  /** Accuracy on each task, then their mean; over seeds. */
  readonly values: readonly Stat[];
}

export interface TaskTable {
  /** Names of the tasks. */
  readonly tasks: readonly string[];
  /** References first: the base, each model that was merged on its own task, one model trained on all tasks. */
  readonly lines: readonly TaskLine[];
}

type Metrics = ReportRow["results"][number]["metrics"];

/**
 * Method × task, where the cells of a scenario hold the metrics `<task>Accuracy`, `<task>Base` and `<task>Individual` of at least two tasks;
 * undefined where they do not. A row of another scenario that has `<task>Accuracy` of all of them, and no base, was trained on all at once.
 * @param rows of one scenario
 * @param all of the run
 */
export function findTaskTable(rows: readonly ReportRow[], all: readonly ReportRow[]): TaskTable | undefined {
  const names = new Set(rows.flatMap((r) => Object.keys(r.metrics)));
  const tasks = [...names].flatMap((name) => {
    const task = /^(.+)Accuracy$/.exec(name)?.[1];
    return task !== undefined && names.has(`${task}Base`) && names.has(`${task}Individual`) ? [task] : [];
  });
  if (tasks.length < 2) return undefined;
  const line = (label: string, isReference: boolean, status: TaskLine["status"], cells: readonly Metrics[], what: string): TaskLine => {
    const values = cells.map((metrics) => tasks.map((t) => metrics[`${t}${what}`]?.value ?? null));
    const means = values.map((v) => (v.includes(null) ? null : (v as number[]).reduce((a, b) => a + b, 0) / tasks.length));
    return { label, isReference, status, values: [...tasks.map((_, i) => statOf(values.map((v) => v[i]))), statOf(means)] };
  };
  const okOf = (row: ReportRow): readonly Metrics[] => row.results.filter((r) => r.status === "ok").map((r) => r.metrics);
  // What methods are measured against is the same in all cells of a seed.
  const bySeed = new Map(rows.flatMap((row) => row.results.filter((r) => r.status === "ok").map((r) => [r.seed, r.metrics] as const)));
  const atOnce = all.filter(
    (r) => r.status === "ok" && tasks.every((t) => r.metrics[`${t}Accuracy`] && !r.metrics[`${t}Base`] && !r.metrics[`${t}Individual`]),
  );
  return {
    tasks,
    lines: [
      line("base", true, "ok", [...bySeed.values()], "Base"),
      line("individual", true, "ok", [...bySeed.values()], "Individual"),
      ...atOnce.map((row) => line(atOnce.length > 1 ? `multitask · ${row.label}` : "multitask", true, "ok", okOf(row), "Accuracy")),
      ...rows.map((row) => line(row.label, false, row.status, okOf(row), "Accuracy")),
    ],
  };
}

/** Metrics that the table shows. */
export function shownInTaskTable({ tasks }: TaskTable): ReadonlySet<string> {
  return new Set([...tasks.flatMap((t) => [`${t}Accuracy`, `${t}Base`, `${t}Individual`]), "baseAccuracy", "individualAccuracy"]);
}

/** Percent without its sign: "91.2 ± 0.4". */
export function formatShare({ mean, sd }: Stat): string {
  return mean === null ? notRun : `${(100 * mean).toFixed(1)}${sd === null ? "" : ` ± ${(100 * sd).toFixed(1)}`}`;
}

/** What stands in a cell: a share, or why there is none. */
export function cellText(line: TaskLine, column: number): string {
  const value = line.values[column]!;
  return value.mean === null && line.status !== "ok" ? line.status : formatShare(value);
}

/** Whether a line is the best method of a column; what reads the same as the best is best too. */
export function bestOf({ lines }: TaskTable): (line: TaskLine, column: number) => boolean {
  const shown = (line: TaskLine, column: number): number =>
    line.isReference ? -1 : Number((100 * (line.values[column]!.mean ?? -1)).toFixed(1));
  const best = lines[0]!.values.map((_, column) => Math.max(0, ...lines.map((line) => shown(line, column))));
  return (line, column) => shown(line, column) === best[column];
}

/** The table and, below, a panel of bars a task. */
export function taskSection(table: TaskTable, title: string): Markup {
  return join([
    el("h4", {}, "Accuracy by task, %"),
    taskTable(table, title),
    el(
      "p",
      { class: "note" },
      `${spread(table)}Bold: the best method. Grey rows are what methods are measured against: ${references(table)}`,
    ),
    markLegend(table),
    el("div", { class: "figures pairs" }, taskPanels(table)),
  ]);
}

function references({ lines }: TaskTable): string {
  const hasAtOnce = lines.some((l) => l.isReference && l.label.startsWith("multitask"));
  return `the base that all models were tuned from${hasAtOnce ? "," : " and"} each model on the task it was tuned for${hasAtOnce ? ", and one model that was trained on all tasks at once" : ""}.`;
}

function spread({ lines }: TaskTable): string {
  const seeds = Math.max(...lines.flatMap((l) => l.values.map((v) => v.n)));
  return seeds > 1 ? `Mean ± standard deviation of ${seeds} seeds. ` : "";
}

function taskTable(table: TaskTable, title: string): Markup {
  const head = (name: string, numeric: boolean): Markup =>
    el(
      "th",
      { scope: "col", class: numeric ? "n" : null, "aria-sort": "none", "data-first": numeric ? "descending" : null },
      el("button", { type: "button" }, name),
    );
  const isBest = bestOf(table);
  const body = table.lines.map((line) =>
    el(
      "tr",
      { class: line.isReference ? "ref" : null },
      el("th", { scope: "row", "data-v": line.label }, line.label),
      line.values.map((value, column) => {
        const text = cellText(line, column);
        return el(
          "td",
          { class: "n", "data-v": value.mean === null ? "" : String(value.mean) },
          isBest(line, column) ? el("strong", {}, text) : value.mean === null ? el("span", { class: "dim" }, text) : text,
        );
      }),
    ),
  );
  return scrolling(
    title,
    el(
      "table",
      { "data-sort": true },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          head("Method", false),
          [...table.tasks, "average"].map((name) => head(name, true)),
        ),
      ),
      el("tbody", {}, body),
    ),
    true,
  );
}

const MARK_DASHES = ["2 3", undefined, "7 3", "7 3 2 3"];

/** References with a value, and how their lines are dashed. */
function markedLines({ lines }: TaskTable): readonly { readonly line: TaskLine; readonly dash: string | undefined }[] {
  return lines.filter((l) => l.isReference).map((line, i) => ({ line, dash: MARK_DASHES[i % MARK_DASHES.length] }));
}

function markLegend(table: TaskTable): Markup {
  return el(
    "ul",
    { class: "legend" },
    markedLines(table).map(({ line, dash }) => el("li", {}, lineKey("var(--ink)", dash), line.label)),
  );
}

function taskPanels(table: TaskTable): readonly Markup[] {
  return table.tasks.map((task, t) => {
    const bars = table.lines
      .filter((l) => !l.isReference)
      .map((line): Bar => {
        const { label, values } = line;
        const { mean, sd } = values[t]!;
        const text = mean === null ? cellText(line, t) : (100 * mean).toFixed(1);
        const title = `${label} on ${task}: ${mean === null ? text : `${formatShare(values[t]!)} %`}`;
        return { label, value: mean === null ? null : 100 * mean, sd: sd === null ? null : 100 * sd, text, color: "var(--s3)", title };
      });
    const marks = markedLines(table).flatMap(({ line, dash }): BarMark[] => {
      const stat = line.values[t]!;
      return stat.mean === null ? [] : [{ value: 100 * stat.mean, title: `${line.label} on ${task}: ${formatShare(stat)} %`, dash }];
    });
    const chart = barChart(bars, { label: `Accuracy on ${task} by method`, xTitle: "accuracy, %", marks, end: 100, row: 19 });
    return figure(task, chart, "");
  });
}
