import { describe, expect, it } from "vitest";
import { mergedTasks, reuseRun } from "../../test/fixtures/reuse-run.js";
import { sampleResult, sampleRun } from "../../test/fixtures/sample-run.js";
import { groupCells, type ReportRow } from "../aggregate.js";
import { bestOf, findTaskTable, formatShare, shownInTaskTable } from "./task-table.js";

const rows = groupCells(reuseRun());
const of = (task: string): readonly ReportRow[] => rows.filter((r) => r.task === task);
const share = (value: number) => ({ value, unit: "fraction", higherIsBetter: true });

describe("table of tasks", () => {
  const table = findTaskTable(of("text-tasks-merge"), rows)!;
  const line = (label: string) => table.lines.find((l) => l.label === label)!;

  it("has base, individual and multitask in front, then methods in their order", () => {
    expect(table.tasks).toEqual(mergedTasks);
    expect(table.lines.slice(0, 4).map((l) => l.label)).toEqual(["base", "individual", "multitask", "average"]);
    expect(table.lines.filter((l) => !l.isReference).map((l) => l.label)).toEqual(of("text-tasks-merge").map((r) => r.label));
  });

  it("takes mean and deviation over seeds, of the average from each seed's own", () => {
    const cells = of("text-tasks-merge").find((r) => r.label === "average")!;
    expect(line("average").values[1]).toEqual(
      expect.objectContaining({ mean: cells.metrics.negationAccuracy!.mean, sd: cells.metrics.negationAccuracy!.sd, n: 3 }),
    );
    expect(line("average").values[4]!.mean).toBeCloseTo(cells.metrics.accuracy!.mean!, 12);
    expect(line("average").values[4]!.sd).toBeCloseTo(cells.metrics.accuracy!.sd!, 12);
    expect(line("base").values[0]!.mean).toBeCloseTo(cells.metrics.moodBase!.mean!, 12);
    expect(line("individual").values[3]!.mean).toBeCloseTo(cells.metrics.orderIndividual!.mean!, 12);
    expect(line("multitask").values[4]!.mean).toBeCloseTo(of("text-tasks")[0]!.metrics.accuracy!.mean!, 12);
    expect(line("base").values.map((v) => v.n)).toEqual([3, 3, 3, 3, 3]);
  });

  it("finds the best method, never what methods are measured against", () => {
    const isBest = bestOf(table);
    for (const column of [0, 1, 2, 3, 4]) expect(table.lines.filter((l) => isBest(l, column)).map((l) => l.label)).toEqual(["wemoe"]);
    const twin = { ...line("wemoe"), label: "twin", values: line("wemoe").values.map((v) => ({ ...v, mean: v.mean! - 1e-9 })) };
    const level = { ...table, lines: [...table.lines, twin] };
    expect(level.lines.filter((l) => bestOf(level)(l, 2)).map((l) => l.label)).toEqual(["wemoe", "twin"]);
  });

  it("keeps a failed method, without numbers", () => {
    expect(line("smile")).toMatchObject({ status: "failed", values: Array(5).fill({ mean: null, n: 0 }) });
  });

  it("is none where cells do not say what the base and each model reach, as in runs of old", () => {
    expect(findTaskTable(of("two-glyph-nets"), rows)).toBeUndefined();
    expect(findTaskTable(of("text-tasks"), rows)).toBeUndefined();
    const old = sampleResult({ metrics: { accuracy: share(0.5), aAccuracy: share(0.4), bAccuracy: share(0.6), baseAccuracy: share(0.1) } });
    const run = groupCells(sampleRun([old]));
    expect(findTaskTable(run, run)).toBeUndefined();
  });

  it("has no line of training at once where no other scenario has all tasks", () => {
    const alone = findTaskTable(of("text-tasks-merge"), of("text-tasks-merge"))!;
    expect(alone.lines.filter((l) => l.isReference).map((l) => l.label)).toEqual(["base", "individual"]);
  });

  it("says which metrics need no other place", () => {
    const left = Object.keys(of("text-tasks-merge")[0]!.metrics).filter((name) => !shownInTaskTable(table).has(name));
    expect(left).toEqual(["accuracy", "normalized"]);
  });

  it("writes shares as percent", () => {
    expect(formatShare({ mean: 0.9123, sd: 0.004, n: 3 })).toBe("91.2 ± 0.4");
    expect(formatShare({ mean: 0.9123, sd: null, n: 1 })).toBe("91.2");
    expect(formatShare({ mean: null, sd: null, n: 0 })).toBe("not run");
  });
});
