import type { ReportRow } from "../aggregate.js";
import { type Axis, type Entry, entryOf } from "../axes/axis.js";
import { direction, formatStat, notRun, spell } from "./format.js";
import { el, type Markup } from "./markup.js";
import { paradigmTitles } from "./palette.js";

interface Column {
  readonly title: string;
  /** Explains the column. */
  readonly hint: string;
  /** Wide: left out on narrow screens. Default: text. */
  readonly kind?: keyof typeof classes;
  /** First click sorts so that the best comes first. */
  readonly first?: "descending";
  entry(row: ReportRow): Entry;
}

const named: readonly Column[] = [
  { title: "Method", hint: "method, and preset where a task holds it more than once", entry: (r) => ({ shown: r.label, sort: r.label }) },
  {
    title: "Paradigm",
    hint: "paradigm of the survey",
    kind: "wide",
    entry: (r) => ({ shown: paradigmTitles[r.paradigm], sort: paradigmTitles[r.paradigm] }),
  },
  {
    title: "Task",
    hint: "task and the model it is posed to",
    entry: (r) => ({ shown: [spell(r.task), " ", el("small", {}, r.model)], sort: r.task }),
  },
];

const seeds: Column = {
  title: "Seeds",
  hint: "number of seeds",
  kind: "number",
  entry: (r) => ({ shown: String(r.seeds.length), sort: r.seeds.length }),
};

function columnOf(axis: Axis): readonly Column[] {
  if (!axis.page) return [];
  const { title, hint, kind = "number" } = axis.page;
  return [{ title, hint, kind, ...(axis.better === "higher" ? { first: "descending" } : {}), entry: (row) => entryOf(axis, row) }];
}

const classes = { number: "n", wide: "only-wide-cell", text: null };
const classOf = ({ kind = "text" }: Column): string | null => classes[kind];

/** Everything side by side, sortable by every column. */
export function crossTable(rows: readonly ReportRow[], axes: readonly Axis[], id: string): Markup {
  const columns = [...named, ...axes.flatMap(columnOf), seeds];
  const head = columns.map((c) =>
    el(
      "th",
      { scope: "col", class: classOf(c), "aria-sort": "none", "data-first": c.first, title: c.hint },
      el("button", { type: "button" }, c.title),
    ),
  );
  const body = rows.map((row) =>
    el(
      "tr",
      { "data-paradigm": row.paradigm },
      columns.map((c, i) => {
        const { shown, sort } = c.entry(row);
        return i === 0
          ? el(
              "th",
              { scope: "row", "data-v": String(sort) },
              shown,
              row.monitors.some((m) => m.warning) ? [" ", el("span", { class: "tag warn", title: "a monitor warns" }, "!")] : "",
            )
          : el("td", { class: classOf(c), "data-v": String(sort) }, shown);
      }),
    ),
  );
  return scrolling(
    "All methods side by side",
    el("table", { id, "data-sort": true }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)),
  );
}

/** Every metric of one task that does not stand elsewhere: methods down, metrics across. */
export function metricTable(rows: readonly ReportRow[], title: string, elsewhere: ReadonlySet<string> = new Set()): Markup {
  const names = [...new Set(rows.flatMap((r) => Object.keys(r.metrics)))].filter((name) => !elsewhere.has(name));
  const metricOf = (name: string) => rows.map((r) => r.metrics[name]).find((m) => m !== undefined)!;
  const head = names.map((name) => {
    const metric = metricOf(name);
    return el(
      "th",
      { scope: "col", class: "n", title: metric.note ?? null },
      spell(name),
      " ",
      el("small", { title: direction(metric) }, metric.higherIsBetter ? "↑" : "↓"),
    );
  });
  const body = rows.map((row) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, row.label),
      names.map((name) => {
        const metric = row.metrics[name];
        return el(
          "td",
          { class: "n" },
          metric?.mean === null || !metric
            ? el("span", { class: "dim" }, row.status === "ok" ? notRun : row.status)
            : formatStat(metric, metric.unit),
        );
      }),
    ),
  );
  return scrolling(
    title,
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Method"), head)), el("tbody", {}, body)),
    true,
  );
}

/** A box that scrolls sideways by itself, by keyboard too. */
export function scrolling(label: string, table: Markup, fit = false): Markup {
  return el("div", { class: fit ? "scroll fit" : "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}
