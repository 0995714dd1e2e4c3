import { describe, expect, it } from "vitest";
import { sampleResult, sampleRun } from "../test/fixtures/sample-run.js";
import { groupCells, type ReportRow } from "./aggregate.js";
import { comparedRows, findGrids } from "./option-grid.js";
import { findFindings } from "./report/findings.js";
import { renderReport } from "./report/write-report.js";

const fraction = (value: number) => ({ value, unit: "fraction", higherIsBetter: true });
const cell = (lr: number, init: string, test: number, validation: number) =>
  sampleResult({
    method: "prompt",
    variant: `lr ${lr}, init ${init}`,
    config: { lr, init, steps: 5 },
    metrics: { accuracy: fraction(test), validationAccuracy: fraction(validation) },
  });
// By test sentences the best of "text" is lr 1, by validation sentences it is lr 0.1.
const results = [cell(0.1, "text", 0.7, 0.9), cell(1, "text", 0.9, 0.7), cell(0.1, "random", 0.5, 0.5), cell(1, "random", 0.6, 0.6)];
const run = sampleRun([sampleResult({ method: "full", accuracy: 0.8 }), ...results]);
const rows = groupCells(run);

describe("grids of options", () => {
  it("are found by the options that differ, and told apart by the one of words", () => {
    expect(findGrids(rows)).toMatchObject([{ method: "prompt", lead: "init", others: ["lr"], metric: "validationAccuracy" }]);
    const one: ReportRow[] = groupCells(sampleRun([0.1, 0.2, 0.3, 0.4].map((lr) => cell(lr, "text", 0.5, 0.5)))).slice();
    expect(findGrids(one)).toEqual([]);
  });

  it("are compared by what validation chooses, so that test sentences choose nothing", () => {
    expect(comparedRows(rows).map((r) => r.label)).toEqual(["full", "text (0.1)", "random (1)"]);
    const said = findFindings(rows)
      .flatMap((f) => f.sentences.flat())
      .map((part) => (typeof part === "string" ? part : part.strong))
      .join("");
    expect(said).toContain("full");
    expect(said).not.toContain("90.0 %");
  });

  it("stand on the page as heat maps, a failed combination by its name", () => {
    const failed = sampleResult({
      method: "prompt",
      variant: "lr 9, init text",
      status: "failed",
      config: { lr: 9, init: "text", steps: 5 },
    });
    const { html } = renderReport(sampleRun([...results, failed]));
    const table = /<table class="heat">.*?<\/table>/s.exec(html)![0];
    expect(table).toMatch(/<th scope="row">text<\/th><td style="--v:50%"[^>]*>70.0<\/td><td style="--v:100%"[^>]*>90.0<\/td>.*failed/s);
    expect(table).toMatch(/<th scope="row">random<\/th><td style="--v:0%"[^>]*>50.0<\/td><td style="--v:25%"[^>]*>60.0<\/td>.*not run/s);
  });
});
