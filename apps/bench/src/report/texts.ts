import { headlineOf, type ReportRow, sharedSetups } from "../aggregate.js";
import type { StoredRun } from "../summary.js";
import type { ParadigmFindings, Sentence } from "./findings.js";
import { formatBytes, formatCount, formatMs, formatStat, spell } from "./format.js";
import { paradigmTitles } from "./palette.js";
import { bestOf, cellText, findTaskTable } from "./task-table.js";

/** The run as Markdown: findings, one table, warnings, failures. */
export function renderMarkdown(run: StoredRun, rows: readonly ReportRow[], findings: readonly ParadigmFindings[]): string {
  const { summary } = run;
  const head = ["method", "paradigm", "task", "quality", "metric", "kept", "trained", "saved", "data", "time", "seeds"];
  const lines = rows.map((r) => {
    const metric = headlineOf(r);
    return [
      r.label,
      paradigmTitles[r.paradigm],
      r.task,
      r.status === "ok" ? formatStat(metric, metric?.unit ?? "") : r.status,
      `${spell(r.headline ?? "")}${metric && !metric.higherIsBetter ? " ↓" : ""}`,
      formatStat(r.retention?.kept, "fraction"),
      formatCount(r.trainableParams),
      formatBytes(r.bytes),
      formatCount(r.dataUsed),
      formatMs(r.wallMs.mean),
      String(r.seeds.length),
    ];
  });
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
    `| ${head.join(" | ")} |`,
    `|${head.map(() => "---").join("|")}|`,
    ...lines.map((line) => `| ${line.map(plain).join(" | ")} |`),
    ...setupTable(rows),
    ...taskTables(rows),
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

function setupTable(rows: readonly ReportRow[]): string[] {
  const setups = sharedSetups(rows);
  if (setups.length === 0) return [];
  return [
    "",
    "## Set-up that the cells of a task share",
    "",
    "| task | paradigm | time a seed |",
    "|---|---|---|",
    ...setups.map(({ task, paradigm, ms }) => `| ${plain(task)} | ${paradigmTitles[paradigm]} | ${formatMs(ms)} |`),
  ];
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

function markdownSentence(sentence: Sentence): string {
  return sentence.map((part) => (typeof part === "string" ? plain(part) : `**${plain(part.strong)}**`)).join("");
}

/** Text that Markdown shows as it is. */
function plain(text: string): string {
  return text.replace(/[\r\n]+/g, " ").replace(/[\\`*_[\]<>|#]/g, "\\$&");
}

/** One line a cell (RFC 4180); metrics as columns of their own. */
export function renderCsv(run: StoredRun): string {
  const metricNames = [...new Set(run.results.flatMap((r) => Object.keys(r.metrics)))].sort();
  const fixed = [
    "paradigm",
    "method",
    "variant",
    "model",
    "task",
    "seed",
    "status",
    "error",
    "headline",
    "kept",
    "trainableParams",
    "bytes",
    "dataUsed",
    "queries",
    "wallMs",
    "setupMs",
    "peakRssBytes",
    "warnings",
    "hash",
  ];
  const lines = run.results.map((r) => [
    r.paradigm,
    r.method,
    r.variant ?? "",
    r.model,
    r.task,
    r.seed,
    r.status,
    r.error?.code ?? r.reason ?? "",
    r.headline ?? "",
    r.retention?.kept ?? "",
    r.trainableParams ?? "",
    r.bytes ?? "",
    r.dataUsed ?? "",
    r.queries ?? "",
    r.wallMs ?? "",
    r.setupMs ?? "",
    r.peakRssBytes ?? "",
    r.monitors
      .filter((m) => m.warning)
      .map((m) => m.id)
      .join(" "),
    r.hash,
    ...metricNames.map((name) => r.metrics[name]?.value ?? ""),
  ]);
  return [[...fixed, ...metricNames.map((n) => `metric.${n}`)], ...lines].map((line) => `${line.map(csvField).join(",")}\r\n`).join("");
}

/** A leading = + - @ of a text would be run as a formula by spreadsheets. */
function csvField(value: string | number): string {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/** Rows with their statistics, and the findings, for programs. */
export function renderJson(run: StoredRun, rows: readonly ReportRow[], findings: readonly ParadigmFindings[]): string {
  const { suite, started, seeds, engine, machine, versions, pending } = run.summary;
  const plainRows = rows.map(({ results: _results, curves: _curves, ...row }) => ({
    ...row,
    variant: row.variant ?? null,
    headline: row.headline ?? null,
  }));
  const said = findings.map((f) => ({
    paradigm: f.paradigm,
    sentences: f.sentences.map((s) => s.map((p) => (typeof p === "string" ? p : p.strong)).join("")),
  }));
  return `${JSON.stringify({ suite, started, seeds, engine, machine, versions, findings: said, rows: plainRows, pending }, null, 1)}\n`;
}
