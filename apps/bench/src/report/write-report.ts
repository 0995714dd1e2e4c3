import { join } from "node:path";
import { writeTextFile } from "@lfm/formats";
import { groupCells } from "../aggregate.js";
import type { Axis } from "../axes/axis.js";
import { axes as allAxes } from "../axes/index.js";
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

/** The report of a run, in all its forms. @param axes what methods are measured by */
export function renderReport(run: StoredRun, axes: readonly Axis[] = allAxes): ReportTexts {
  const rows = groupCells(run);
  const findings = findFindings(rows, axes);
  return {
    html: renderPage(run.summary, rows, findings, axes),
    md: renderMarkdown(run, rows, findings, axes),
    csv: renderCsv(run, axes),
    json: renderJson(run, rows, findings, axes),
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
  for (const kind of ["html", "md", "csv", "json"] as const) writeTextFile(path(kind), texts[kind]);
  return { html: path("html"), md: path("md"), csv: path("csv"), json: path("json") };
}
