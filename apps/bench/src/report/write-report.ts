import { join } from "node:path";
import { groupCells } from "../aggregate.js";
import { writeAtomic } from "../store.js";
import { readRun, type StoredRun } from "../summary.js";
import { findFindings } from "./findings.js";
import { renderPage } from "./page.js";
import { renderCsv, renderJson, renderMarkdown } from "./texts.js";

export interface ReportTexts {
  readonly html: string;
  readonly md: string;
  readonly csv: string;
  readonly json: string;
}

/** The report of a run, in all its forms. */
export function renderReport(run: StoredRun): ReportTexts {
  const rows = groupCells(run);
  const findings = findFindings(rows);
  return {
    html: renderPage(run.summary, rows, findings),
    md: renderMarkdown(run, rows, findings),
    csv: renderCsv(run),
    json: renderJson(run, rows, findings),
  };
}

/**
 * Writes report.html, report.md, report.csv and report.json beside the results of a run.
 * @returns their paths
 * @throws {LfmError} FILE_IO, FILE_FORMAT where the folder holds no run
 */
export function writeReport(dir: string): { readonly html: string; readonly md: string; readonly csv: string; readonly json: string } {
  const texts = renderReport(readRun(dir));
  const path = (kind: keyof ReportTexts): string => join(dir, `report.${kind}`);
  for (const kind of ["html", "md", "csv", "json"] as const) writeAtomic(path(kind), texts[kind]);
  return { html: path("html"), md: path("md"), csv: path("csv"), json: path("json") };
}
