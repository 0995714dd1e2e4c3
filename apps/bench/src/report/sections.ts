import type { Paradigm } from "@lfm/core";
import { paradigmOrder, type ReportRow } from "../aggregate.js";
import { type Axis, type Sentence, shortText } from "../axes/axis.js";
import { comparedRows, findGrids } from "../option-grid.js";
import type { RunSummary } from "../summary.js";
import { editSection, outputsSection } from "./edit-section.js";
import { findEditTable, shownInEditTable } from "./edit-table.js";
import { curveFigures, figure, headlineChart, memoryChart, methodLegend, paradigmLegend } from "./figures.js";
import type { ParadigmFindings } from "./findings.js";
import { formatBytes, formatMs, plural, spell } from "./format.js";
import { gridSection } from "./grid-section.js";
import { type Child, el, join, type Markup } from "./markup.js";
import { paradigmMark, paradigmTitles } from "./palette.js";
import { crossTable, metricTable } from "./tables.js";
import { findTaskTable, shownInTaskTable, taskSection } from "./task-table.js";

export function headerSection(summary: RunSummary, rows: readonly ReportRow[], axes: readonly Axis[]): Markup {
  const count = (status: string): number => summary.cells.filter((c) => c.status === status).length;
  const warnings = rows.filter((r) => r.monitors.some((m) => m.warning)).length;
  const tile = (title: string, value: Child, small = ""): Markup =>
    el("div", {}, el("dt", {}, title), el("dd", {}, value, small ? [" ", el("small", {}, small)] : ""));
  const total = (axis: Axis): string =>
    shortText(axis, { mean: summary.cells.reduce((sum, c) => sum + (axis.read(c) ?? 0), 0), sd: null, n: 1 });
  const planned = summary.cells.length + summary.pending.length;
  return el(
    "header",
    {},
    el("p", { class: "eyebrow" }, "lfm bench"),
    el("h1", {}, `Suite ${summary.suite}`),
    el("p", { class: "lead" }, summary.summary || "What each way of learning from models gained, cost and broke."),
    el(
      "dl",
      { class: "tiles" },
      tile("cells with a result", String(count("ok")), `of ${planned}`),
      tile("failed", String(count("failed"))),
      tile("skipped", String(count("skipped"))),
      tile("warnings", String(warnings)),
      tile("seeds", String(summary.seeds.length), summary.seeds.join(", ")),
      axes.map((axis) => (axis.tile === undefined ? "" : tile(axis.tile, total(axis)))),
    ),
    el(
      "p",
      { class: "note" },
      `${summary.started.slice(0, 16).replace("T", " ")} UTC · ${summary.machine.cpu}, ${plural(summary.machine.cores, "core")}, ${formatBytes(summary.machine.memoryBytes)} · ${summary.engine}`,
    ),
  );
}

export function findingsSection(findings: readonly ParadigmFindings[]): Markup {
  return join([
    el("h2", { id: "findings" }, "What the numbers say"),
    el("p", { class: "soft" }, "Written by the program from this run’s results alone."),
    el(
      "div",
      { class: "cards" },
      findings.map((f) =>
        el(
          "section",
          { class: "card" },
          el("h3", {}, paradigmKey(f.paradigm), paradigmTitles[f.paradigm]),
          el(
            "ul",
            {},
            f.sentences.length > 0
              ? f.sentences.map((s) => el("li", {}, renderSentence(s)))
              : el("li", { class: "soft" }, "No result yet."),
          ),
        ),
      ),
    ),
  ]);
}

function renderSentence(sentence: Sentence): Child {
  return sentence.map((part) => (typeof part === "string" ? keepTogether(part) : el("strong", {}, part.strong)));
}

/** Numbers do not part from their percent sign or deviation at the end of a line. */
function keepTogether(text: string): string {
  return text.replace(/(\d) %/g, "$1\u00a0%").replace(/ ± /g, "\u00a0±\u00a0");
}

function paradigmKey(paradigm: Paradigm): Markup {
  return el("svg", { class: "key", viewBox: "0 0 16 16", "aria-hidden": "true" }, paradigmMark(paradigm, 8, 8, 6));
}

export function tableSection(rows: readonly ReportRow[], axes: readonly Axis[]): Markup {
  const present = paradigmOrder.filter((p) => rows.some((r) => r.paradigm === p));
  const chip = (value: string, title: string, pressed: boolean): Markup =>
    el("button", { type: "button", value, "aria-pressed": String(pressed) }, title);
  return join([
    el("h2", { id: "table" }, "Side by side"),
    el(
      "p",
      { class: "soft" },
      "Every method on its task. Click a heading to sort; the box scrolls sideways. ↓ marks metrics where lower is better.",
    ),
    el(
      "div",
      { class: "chips", "data-filters": "cross-table", role: "group", "aria-label": "Filter" },
      chip("", "All", true),
      present.map((p) => chip(p, paradigmTitles[p], false)),
      el("input", { type: "search", placeholder: "method, task, access …", "aria-label": "Filter rows by text" }),
      el("output", { class: "note", "aria-live": "polite" }),
    ),
    crossTable(rows, axes, "cross-table"),
  ]);
}

export function costSection(rows: readonly ReportRow[], axes: readonly Axis[]): Markup {
  const ok = rows.filter((r) => r.status === "ok");
  const drawn = (place?: "wide" | "last"): Child => axes.map(({ figure }) => (figure && figure.place === place ? figure.draw(ok) : ""));
  return join([
    el("h2", { id: "cost" }, "Gained, spent, kept"),
    paradigmLegend(ok),
    drawn("wide"),
    el("div", { class: "figures" }, drawn(), drawn("last")),
  ]);
}

/** The paradigm's tasks, each with its bars, curves and all metrics. Retrieval stands under tuning, as the survey has it. */
export function paradigmSection(paradigm: Paradigm, rows: readonly ReportRow[], summary: RunSummary, axes: readonly Axis[]): Markup {
  const own = rows.filter((r) => r.paradigm === paradigm);
  if (own.length === 0) return join([]);
  const heading = paradigm === "retrieval" ? "Retrieval: the model’s database, augmented" : paradigmTitles[paradigm];
  const methods = summary.methods.filter((m) => m.paradigm === paradigm);
  return join([
    el("h2", { id: paradigm }, paradigmKey(paradigm), " ", heading),
    [...new Set(own.map((r) => r.task))].map((task) => {
      const group = own.filter((r) => r.task === task);
      const about = summary.tasks.find((t) => t.paradigm === paradigm && t.id === task);
      const compared = comparedRows(group);
      const bars = headlineChart(compared);
      const memory = memoryChart(compared);
      const curves = curveFigures(compared);
      const table = findTaskTable(group, rows);
      const edits = findEditTable(group);
      const elsewhere = table ? shownInTaskTable(table) : edits ? shownInEditTable(group) : undefined;
      const spread = group.some((r) => r.seeds.length > 1) ? "Bars are means over seeds, whiskers one standard deviation. " : "";
      return [
        el("h3", {}, spell(task), " ", el("small", { class: "soft" }, `on ${group[0]!.model}`)),
        about ? el("p", { class: "soft" }, about.summary) : "",
        curves.length > 0 ? methodLegend(compared) : "",
        group.every((r) => r.status !== "ok")
          ? el(
              "p",
              {},
              el("span", { class: `tag ${group[0]!.status}` }, group[0]!.status),
              " No result; see ",
              el("a", { href: "#trouble" }, "failures and skips"),
              ".",
            )
          : "",
        el(
          "div",
          { class: "figures" },
          bars
            ? figure(
                spell(group[0]!.headline ?? ""),
                bars,
                `${spread}${group[0]!.metrics[group[0]!.headline ?? ""]?.note ?? "The task’s headline metric."}`,
              )
            : "",
          memory
            ? figure(
                "Peak memory",
                memory,
                "Of the process that ran the cell, and nothing else. Dashed: what the plan promised to stay below.",
              )
            : "",
          axes.map((axis) => axis.taskFigure?.(compared.filter((r) => r.status === "ok")) ?? ""),
          curves,
        ),
        findGrids(group).map(gridSection),
        table ? taskSection(table, `Accuracy by task of ${spell(task)}`) : "",
        edits ? editSection(edits, group, `Edits by axes of ${spell(task)}`) : "",
        outputsSection(group),
        new Set(group.flatMap((r) => Object.keys(r.metrics))).size > 1
          ? metricTable(group, `${elsewhere ? "Other" : "All"} metrics of ${spell(task)}`, elsewhere)
          : "",
      ];
    }),
    el(
      "details",
      {},
      el("summary", {}, `The ${plural(methods.length, "method")} and their papers`),
      el(
        "ul",
        {},
        methods.map((m) => el("li", {}, el("strong", {}, m.id), `: ${m.summary} `, paperLink(m.paper))),
      ),
    ),
  ]);
}

function paperLink(paper: RunSummary["methods"][number]["paper"]): Markup {
  const href = paper.arxiv ? `https://arxiv.org/abs/${paper.arxiv}` : paper.url;
  const text = `${paper.title} (${paper.year})`;
  return href && /^https?:\/\//.test(href) ? el("a", { href }, text) : el("span", {}, text);
}

export function troubleSection(summary: RunSummary): Markup {
  const lost = summary.cells.filter((c) => c.status !== "ok");
  const name = (c: { paradigm: Paradigm; task: string; method: string; variant?: string | undefined; seed: number }): string =>
    `${paradigmTitles[c.paradigm]} · ${spell(c.task)} · ${c.method}${c.variant ? ` · ${c.variant}` : ""} · seed ${c.seed}`;
  return join([
    el("h2", { id: "trouble" }, "Failures and skips"),
    lost.length === 0 && summary.pending.length === 0
      ? el("p", {}, el("span", { class: "tag ok" }, "none"), " Every planned cell has a result.")
      : "",
    lost.map((c) =>
      el(
        "div",
        { class: `alert ${c.status}` },
        el("p", {}, el("span", { class: `tag ${c.status}` }, c.status), " ", el("strong", {}, name(c))),
        c.error
          ? [
              el("p", {}, el("code", {}, c.error.code), " ", c.error.message),
              c.error.hint ? el("p", { class: "note" }, `Hint: ${c.error.hint}`) : "",
            ]
          : "",
        c.reason ? el("p", {}, c.reason) : "",
      ),
    ),
    summary.pending.length > 0
      ? el(
          "details",
          { open: true },
          el("summary", {}, `${plural(summary.pending.length, "planned cell")} not run: the run was stopped before them`),
          el(
            "ul",
            { class: "note" },
            summary.pending.map((c) => el("li", {}, name(c))),
          ),
        )
      : "",
  ]);
}

export function provenanceSection(summary: RunSummary): Markup {
  const facts: readonly (readonly [string, string])[] = [
    ["suite", `${summary.suite}, seeds ${summary.seeds.join(", ")}`],
    ["started", summary.started],
    ["last call took", formatMs(summary.wallMs)],
    [
      "machine",
      `${summary.machine.cpu}, ${summary.machine.cores} cores, ${formatBytes(summary.machine.memoryBytes)}, ${summary.machine.platform}, node ${summary.machine.node}`,
    ],
    ["engine", summary.engine],
    ...Object.entries(summary.versions).map(([k, v]) => [k, v] as const),
  ];
  return join([
    el("h2", { id: "provenance" }, "Where these numbers come from"),
    el(
      "p",
      { class: "soft" },
      `Each cell is one file in results/, named by a hash over its options, seed and versions. “not run” stands where nothing was measured; no number is taken from a paper.`,
    ),
    el(
      "details",
      {},
      el("summary", {}, "Machine and versions"),
      el(
        "dl",
        { class: "facts" },
        facts.map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]),
      ),
    ),
  ]);
}
