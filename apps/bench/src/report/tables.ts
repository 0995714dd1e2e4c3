import { headlineOf, type ReportRow } from "../aggregate.js";
import { direction, formatBytes, formatCount, formatStat, notRun, spell } from "./format.js";
import { type Child, el, type Markup } from "./markup.js";
import { paradigmTitles } from "./palette.js";

/** A cell of a table: what it shows, and what it sorts by ("" stands last either way). */
interface Entry {
  readonly shown: Child;
  readonly sort: string | number;
}

interface Column {
  readonly title: string;
  /** Explains the column. */
  readonly hint: string;
  readonly numeric?: boolean;
  /** Left out on narrow screens. */
  readonly wideOnly?: boolean;
  /** First click sorts so that the best comes first. */
  readonly first?: "ascending" | "descending";
  entry(row: ReportRow): Entry;
}

const number = (value: number | null, text: string): Entry => ({
  shown: value === null ? el("span", { class: "dim" }, notRun) : text,
  sort: value ?? "",
});

const columns: readonly Column[] = [
  { title: "Method", hint: "method, and preset where a task holds it more than once", entry: (r) => ({ shown: r.label, sort: r.label }) },
  {
    title: "Paradigm",
    hint: "paradigm of the survey",
    wideOnly: true,
    entry: (r) => ({ shown: paradigmTitles[r.paradigm], sort: paradigmTitles[r.paradigm] }),
  },
  {
    title: "Task",
    hint: "task and the model it is posed to",
    entry: (r) => ({ shown: [spell(r.task), " ", el("small", {}, r.model)], sort: r.task }),
  },
  {
    title: "Quality",
    hint: "the task's headline metric; sorted by percent, then by metrics where lower is better",
    numeric: true,
    first: "descending",
    entry: quality,
  },
  {
    title: "Kept",
    hint: "share of what the model could do before that is left",
    numeric: true,
    first: "descending",
    entry: (r) => number(r.retention?.kept.mean ?? null, formatStat(r.retention?.kept, "fraction")),
  },
  {
    title: "Trained",
    hint: "parameters that were trained",
    numeric: true,
    entry: (r) => number(r.trainableParams, formatCount(r.trainableParams)),
  },
  { title: "Saved", hint: "size of what was learned, on disk", numeric: true, entry: (r) => number(r.bytes, formatBytes(r.bytes)) },
  { title: "Data", hint: "real examples used for learning", numeric: true, entry: (r) => number(r.dataUsed, formatCount(r.dataUsed)) },
  { title: "Queries", hint: "calls to a black-box model", numeric: true, entry: (r) => number(r.queries, formatCount(r.queries)) },
  {
    title: "Time",
    hint: "wall time of a cell, without set-up that cells share",
    numeric: true,
    entry: (r) => number(r.wallMs.mean, formatStat(r.wallMs, "ms")),
  },
  {
    title: "Peak memory",
    hint: "peak resident size of the process, with what earlier cells left",
    numeric: true,
    entry: (r) => number(r.peakRssBytes, formatBytes(r.peakRssBytes)),
  },
  {
    title: "Access",
    hint: "what the method may see of the model",
    entry: (r) => ({ shown: r.access.join(", ") || "–", sort: r.access.length }),
  },
  { title: "Security", hint: "filled by @lfm/probe", entry: () => ({ shown: el("span", { class: "dim" }, notRun), sort: "" }) },
  { title: "Seeds", hint: "number of seeds", numeric: true, entry: (r) => ({ shown: String(r.seeds.length), sort: r.seeds.length }) },
];

function classOf(column: Column): string | null {
  return column.numeric ? "n" : column.wideOnly ? "only-wide-cell" : null;
}

function quality(row: ReportRow): Entry {
  if (row.status !== "ok") return { shown: el("span", { class: `tag ${row.status}` }, row.status), sort: "" };
  const metric = headlineOf(row);
  if (!metric || metric.mean === null) return number(null, "");
  const percent = metric.unit === "fraction" ? 100 * metric.mean : metric.mean;
  return {
    shown: [
      formatStat(metric, metric.unit),
      " ",
      el("small", { title: direction(metric) }, spell(row.headline ?? ""), metric.higherIsBetter ? "" : " ↓"),
    ],
    sort: metric.higherIsBetter ? percent : -percent,
  };
}

/** Everything side by side, sortable by every column. */
export function crossTable(rows: readonly ReportRow[], id: string): Markup {
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
