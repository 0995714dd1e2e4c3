import { type CellResult, cellResultSchema } from "@lfm/core";
import type { ReportRow, Stat } from "../aggregate.js";
import { type Appendix, type Axis, overSeeds, type Sentence, shortText } from "../axes/axis.js";
import type { StoredRun } from "../summary.js";
import { findEditTable } from "./edit-table.js";
import type { ParadigmFindings } from "./findings.js";
import { spell } from "./format.js";
import { paradigmTitles } from "./palette.js";
import { bestOf, cellText, findTaskTable } from "./task-table.js";

/** The run as Markdown: findings, one table, warnings, failures. */
export function renderMarkdown(
  run: StoredRun,
  rows: readonly ReportRow[],
  findings: readonly ParadigmFindings[],
  axes: readonly Axis[],
): string {
  const { summary } = run;
  const columns: readonly (readonly [string, (row: ReportRow) => string])[] = [
    ["method", (r) => r.label],
    ["paradigm", (r) => paradigmTitles[r.paradigm]],
    ["task", (r) => r.task],
    ...axes.flatMap((axis) => {
      const { markdown = {} } = axis;
      return Object.entries(
        typeof markdown === "string" ? { [markdown]: (r: ReportRow) => shortText(axis, overSeeds(axis, r)) } : markdown,
      );
    }),
    ["seeds", (r) => String(r.seeds.length)],
  ];
  const warnings = rows.flatMap((r) =>
    r.monitors.filter((m) => m.warning).map((m) => `- ${plain(`${r.label} on ${r.task}, ${m.id}: ${m.message}`)}`),
  );
  const lost = summary.cells.filter((c) => c.status !== "ok");
  return [
    `# lfm bench: ${plain(summary.suite)}`,
    "",
    plain(
      `${summary.started} · ${summary.machine.cpu}, ${summary.machine.cores} cores · ${summary.engine} · ${summary.cells.length} of ${summary.cells.length + summary.pending.length} cells`,
    ),
    ...findings.flatMap((f) => ["", `## ${paradigmTitles[f.paradigm]}`, "", ...f.sentences.map((s) => `- ${markdownSentence(s)}`)]),
    "",
    "## Side by side",
    "",
    ...plainTable(
      columns.map(([head]) => head),
      rows.map((row) => columns.map(([, text]) => text(row))),
    ),
    ...axes.flatMap((axis) => appendix(axis.appendix?.(rows))),
    ...taskTables(rows),
    ...editTables(rows),
    ...(warnings.length > 0 ? ["", "## Warnings", "", ...warnings] : []),
    ...(lost.length > 0
      ? [
          "",
          "## Failures and skips",
          "",
          ...lost.map(
            (c) =>
              `- ${plain(`${c.paradigm}/${c.task}/${c.method}, seed ${c.seed}: ${c.status}, ${c.error ? `${c.error.code} ${c.error.message}` : (c.reason ?? "")}`)}`,
          ),
        ]
      : []),
    "",
  ].join("\n");
}

function plainTable(head: readonly string[], lines: readonly (readonly string[])[]): string[] {
  return [head, head.map(() => "---"), ...lines].map((line, i) => (i === 1 ? `|${line.join("|")}|` : `| ${line.map(plain).join(" | ")} |`));
}

function appendix(table: Appendix | undefined): string[] {
  return table && table.lines.length > 0 ? ["", `## ${table.title}`, "", ...plainTable(table.head, table.lines)] : [];
}

/** Method × task, for each scenario that has it; the best method of a column is bold, what methods are measured against in italics. */
function taskTables(rows: readonly ReportRow[]): string[] {
  return [...new Set(rows.map((r) => `${r.paradigm}/${r.task}`))].flatMap((name) => {
    const own = rows.filter((r) => `${r.paradigm}/${r.task}` === name);
    const table = findTaskTable(own, rows);
    if (!table) return [];
    const isBest = bestOf(table);
    const lines = table.lines.map((line) => [
      line.isReference ? `*${plain(line.label)}*` : plain(line.label),
      ...line.values.map((_, column) => (isBest(line, column) ? `**${cellText(line, column)}**` : cellText(line, column))),
    ]);
    return [
      "",
      `## ${plain(spell(own[0]!.task))}: accuracy by task, %`,
      "",
      `| method | ${[...table.tasks, "average"].map(plain).join(" | ")} |`,
      `|---|${"---:|".repeat(table.tasks.length + 1)}`,
      ...lines.map((line) => `| ${line.join(" | ")} |`),
    ];
  });
}

/** Methods by kinds of question about their edits, for each task that has them. */
function editTables(rows: readonly ReportRow[]): string[] {
  return [...new Set(rows.map((r) => `${r.paradigm}/${r.task}`))].flatMap((name) => {
    const own = rows.filter((r) => `${r.paradigm}/${r.task}` === name);
    const table = findEditTable(own);
    if (!table) return [];
    const text = ({ mean, sd }: Stat): string => (mean === null ? "–" : `${mean.toFixed(1)}${sd === null ? "" : ` ± ${sd.toFixed(1)}`}`);
    const lines = table.lines.map((line) => [
      line.isReference ? `*${plain(line.label)}*` : plain(line.label),
      ...line.values.map((value) => (line.status === "ok" ? text(value) : line.status)),
    ]);
    return [
      "",
      `## ${plain(spell(own[0]!.task))}: edits by axes, points`,
      "",
      `| method | ${table.columns.map((c) => plain(c.title)).join(" | ")} |`,
      `|---|${"---:|".repeat(table.columns.length)}`,
      ...lines.map((line) => `| ${line.join(" | ")} |`),
    ];
  });
}

function markdownSentence(sentence: Sentence): string {
  return sentence.map((part) => (typeof part === "string" ? plain(part) : `**${plain(part.strong)}**`)).join("");
}

/** Text that Markdown shows as it is. */
function plain(text: string): string {
  return text.replace(/[\r\n]+/g, " ").replace(/[\\`*_[\]<>|#]/g, "\\$&");
}

/** One line a cell (RFC 4180); metrics as columns of their own. */
export function renderCsv(run: StoredRun, axes: readonly Axis[]): string {
  const metricNames = [...new Set(run.results.flatMap((r) => Object.keys(r.metrics)))].sort();
  const warned = (r: CellResult): string[] => r.monitors.filter((m) => m.warning).map((m) => m.id);
  const columns: readonly (readonly [string, (cell: CellResult) => string | number | null | undefined])[] = [
    ["paradigm", (r) => r.paradigm],
    ["method", (r) => r.method],
    ["variant", (r) => r.variant],
    ["model", (r) => r.model],
    ["task", (r) => r.task],
    ["seed", (r) => r.seed],
    ["status", (r) => r.status],
    ["error", (r) => r.error?.code ?? r.reason],
    ["headline", (r) => r.headline],
    ...axes.flatMap((axis) => (axis.csv === undefined ? [] : [[axis.csv, (r: CellResult) => axis.read(r)] as const])),
    ["warnings", (r) => warned(r).join(" ")],
    ["hash", (r) => r.hash],
    ...metricNames.map((name) => [`metric.${name}`, (r: CellResult) => r.metrics[name]?.value] as const),
  ];
  const lines = [columns.map(([head]) => head), ...run.results.map((r) => columns.map(([, value]) => value(r) ?? ""))];
  return lines.map((line) => `${line.map(csvField).join(",")}\r\n`).join("");
}

/** A leading = + - @ of a text would be run as a formula by spreadsheets. */
function csvField(value: string | number): string {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/** Rows with their statistics, and the findings, for programs. Axes stand in the order that results have them in. */
export function renderJson(
  run: StoredRun,
  rows: readonly ReportRow[],
  findings: readonly ParadigmFindings[],
  axes: readonly Axis[],
): string {
  const { suite, started, seeds, engine, machine, versions, pending } = run.summary;
  const fields = Object.keys(cellResultSchema.shape);
  const written = axes.filter((axis) => axis.csv !== undefined).sort((a, b) => fields.indexOf(a.id) - fields.indexOf(b.id));
  const plainRows = rows.map((row) => {
    const { results: _results, curves: _curves, access, monitors, ...facts } = row;
    const values = written.map((axis) => [axis.id, axis.json ? axis.json(row) : overSeeds(axis, row).mean]);
    return { ...facts, variant: row.variant ?? null, headline: row.headline ?? null, ...Object.fromEntries(values), access, monitors };
  });
  const said = findings.map((f) => ({
    paradigm: f.paradigm,
    sentences: f.sentences.map((s) => s.map((p) => (typeof p === "string" ? p : p.strong)).join("")),
  }));
  return `${JSON.stringify({ suite, started, seeds, engine, machine, versions, findings: said, rows: plainRows, pending }, null, 1)}\n`;
}
