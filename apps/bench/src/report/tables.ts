import type { ReportRow } from "../aggregate.js";
import { type Axis, type Entry, entryOf } from "../axes/axis.js";
import { direction, formatStat, notRun, spell } from "./format.js";
import { type Child, el, type Markup } from "./markup.js";
import { paradigmMark, paradigmTitles } from "./palette.js";

interface Column {
  readonly title: string;
  /** Explains the column. */
  readonly hint: string;
  /** Default: text. */
  readonly kind?: keyof typeof classes;
  /** First click sorts so that the best comes first. */
  readonly first?: "descending";
  entry(row: ReportRow): Entry;
}

/** Method, task and model in one column, so that the numbers stand beside them on the narrowest screen. */
const method: Column = {
  title: "Method",
  hint: "method (and preset where a task holds it more than once), its task, and the model that it is posed to",
  entry: (r) => ({
    shown: [
      el(
        "svg",
        { class: "key", viewBox: "0 0 16 16", role: "img", "aria-label": paradigmTitles[r.paradigm] },
        paradigmMark(r.paradigm, 8, 8, 5),
      ),
      " ",
      r.label,
      r.monitors.some((m) => m.warning) ? [" ", el("span", { class: "tag warn", title: "a monitor warns" }, "!")] : "",
      el("small", { class: "under" }, `${spell(r.task)} · ${r.model}`),
    ],
    sort: r.label,
  }),
};

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

const classes = { number: "n", text: "wrap" };
const classOf = ({ kind = "text" }: Column): string | null => classes[kind];

/** Everything side by side, sortable by every column. What no method was measured by has no column. */
export function crossTable(rows: readonly ReportRow[], axes: readonly Axis[], id: string): Markup {
  const measured = axes.flatMap(columnOf).filter((c) => rows.some((row) => c.entry(row).sort !== ""));
  const columns = [method, ...measured, seeds];
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
          ? el("th", { scope: "row", "data-v": String(sort) }, shown)
          : el("td", { class: classOf(c), "data-v": String(sort) }, below(shown));
      }),
    ),
  );
  return scrolling(
    "All methods side by side",
    el("table", { id, "data-sort": true }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)),
  );
}

/** Deviations stand below their means: side by side they would not fit. */
function below(shown: Child): Child {
  if (Array.isArray(shown)) return shown.map(below);
  const [mean, sd] = typeof shown === "string" ? shown.split(" ± ") : [];
  return mean === undefined || sd === undefined ? shown : [mean, el("small", {}, `± ${sd}`)];
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
