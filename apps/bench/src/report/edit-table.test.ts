import { describe, expect, it } from "vitest";
import { editors, editRun } from "../../test/fixtures/edit-run.js";
import { groupCells } from "../aggregate.js";
import { findEditTable, protocolTables, shownInEditTable } from "./edit-table.js";
import { renderReport } from "./write-report.js";

const run = editRun();
const rows = groupCells(run).filter((r) => r.task === "single-edits");
const texts = renderReport(run);

describe("the table of edits", () => {
  const table = findEditTable(rows)!;

  it("has a column for each kind that was asked, axis by axis, then other tasks", () => {
    expect(table.columns.map((c) => c.group).filter((g, i, all) => g !== all[i - 1])).toEqual([
      "efficacy",
      "generalisation",
      "portability",
      "locality",
      "other tasks",
    ]);
    expect(table.columns.map((c) => c.id)).not.toContain("inverse");
    expect(table.columns.slice(-2).map((c) => c.id)).toEqual(["adapterTask", "reading"]);
  });

  it("has the model before any edit first, then the methods with means over seeds by the main protocol", () => {
    expect(table.lines.map((l) => l.label)).toEqual(["before any edit", ...editors.map(([name]) => name), "mend"]);
    const [before, , rome] = table.lines;
    expect(before!.values[0]!.mean).toBe(2);
    const row = rows.find((r) => r.label === "rome")!;
    expect(rome!.values[0]).toMatchObject({ mean: row.metrics["efficacy.generated"]!.mean, n: 3 });
    const column = table.columns.findIndex((c) => c.id === "same-value");
    expect(rome!.values[column]!.mean).toBe(row.metrics["same-value.unchanged"]!.mean);
    expect(table.lines.at(-1)!.values.every((v) => v.mean === null)).toBe(true);
  });

  it("is that of tasks with edits alone", () => {
    expect(findEditTable(rows.filter((r) => r.label === "mend"))).toBeUndefined();
    expect(findEditTable([])).toBeUndefined();
  });

  it("brings every protocol of every method, after and before, and takes them out of the list of metrics", () => {
    const tables = protocolTables(rows);
    expect(tables.map((t) => t.label)).toEqual(editors.map(([name]) => name));
    const line = tables[1]!.lines.find((l) => l.kind === "paraphrase")!;
    expect(line.values).toHaveLength(7);
    expect(line.known!.mean).toBe(97);
    expect(line.values[0]).toMatchObject({ before: { mean: 2 }, unit: "points" });
    const shown = shownInEditTable(rows);
    expect([shown.has("paraphrase.success"), shown.has("efficacy.known"), shown.has("score"), shown.has("efficacy")]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("the report of edits", () => {
  it("shows the heat map, a profile a method, curves over the number of edits, and the worst in words", () => {
    const { html } = texts;
    expect(html.match(/<table class="heat"/g)).toHaveLength(2);
    expect(html).toContain('title="rome, same value:');
    expect(html).toMatch(/style="--v:\d+%"/);
    expect(html.match(/aria-label="rome: efficacy \d+, /g)!.length).toBeGreaterThanOrEqual(1);
    expect(html).toContain("edits (log)");
    expect(html).toContain("the home of kera lies in <strong>normark</strong>");
    expect(html).toContain("(nothing)");
    expect(html.match(/<svg.*?<\/svg>/g)!.filter((svg) => /NaN|undefined/.test(svg))).toEqual([]);
  });

  it("says the same in Markdown", () => {
    const lines = texts.md.split("\n");
    const at = lines.findIndex((line) => line.startsWith("## single edits: edits by axes"));
    expect(lines[at + 2]).toMatch(/^\| method \| efficacy \| paraphrase \|/);
    expect(lines[at + 4]).toMatch(/^\| \*before any edit\* \| 2\.0 ± 0\.0 \|/);
    expect(lines.slice(at).find((line) => line.startsWith("| mend |"))).toContain("failed");
  });
});
