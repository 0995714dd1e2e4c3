import { paradigmOrder, type ReportRow } from "../aggregate.js";
import type { Axis } from "../axes/axis.js";
import type { RunSummary } from "../summary.js";
import type { ParadigmFindings } from "./findings.js";
import { el, join, Markup } from "./markup.js";
import { monitorSection } from "./monitors.js";
import { paradigmTitles } from "./palette.js";
import { script } from "./script.js";
import {
  costSection,
  findingsSection,
  headerSection,
  paradigmSection,
  provenanceSection,
  tableSection,
  troubleSection,
} from "./sections.js";
import { style } from "./style.js";

/** One self-contained page: no file, font or script from anywhere else. */
export function renderPage(
  summary: RunSummary,
  rows: readonly ReportRow[],
  findings: readonly ParadigmFindings[],
  axes: readonly Axis[],
): string {
  const present = paradigmOrder.filter((p) => rows.some((r) => r.paradigm === p));
  const links: readonly (readonly [string, string])[] = [
    ["findings", "Findings"],
    ["table", "Side by side"],
    ["cost", "Gained, spent, kept"],
    ...present.map((p) => [p, paradigmTitles[p]] as const),
    ["monitors", "Monitors"],
    ["trouble", "Failures and skips"],
    ["provenance", "Provenance"],
  ];
  const icon = `data:image/svg+xml,${encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#0072b2"/></svg>')}`;
  const page = el(
    "html",
    { lang: "en" },
    el(
      "head",
      {},
      el("meta", { charset: "utf-8" }),
      el("meta", { name: "viewport", content: "width=device-width,initial-scale=1" }),
      el("title", {}, `lfm bench: ${summary.suite}`),
      el("link", { rel: "icon", href: icon }),
      el("style", {}, new Markup(style)),
    ),
    el(
      "body",
      {},
      headerSection(summary, rows, axes),
      el(
        "main",
        {},
        el(
          "nav",
          { "aria-label": "Sections" },
          links.map(([id, title]) => el("a", { href: `#${id}` }, title)),
        ),
        rows.length === 0
          ? el("p", {}, "No cell has a result yet.")
          : join([
              findingsSection(findings),
              tableSection(rows, axes),
              costSection(rows, axes),
              ...present.map((p) => paradigmSection(p, rows, summary, axes)),
              monitorSection(rows),
            ]),
        troubleSection(summary),
        provenanceSection(summary),
      ),
      el("footer", {}, "Made by lfm. The same numbers stand in report.md, report.csv and report.json."),
      el("script", {}, new Markup(script)),
    ),
  );
  return `<!doctype html>\n${page.text}\n`;
}
