import type { Paradigm } from "@lfm/core";
import { paradigmOrder, type ReportRow } from "../aggregate.js";
import type { Axis, Sentence } from "../axes/axis.js";
import { axes as allAxes } from "../axes/index.js";
import { comparedRows } from "../option-grid.js";
import { plural, spell } from "./format.js";

export interface ParadigmFindings {
  readonly paradigm: Paradigm;
  readonly sentences: readonly Sentence[];
}

/** What the numbers of each paradigm say, in words. Only what was measured in this run is said. */
export function findFindings(rows: readonly ReportRow[], axes: readonly Axis[] = allAxes): readonly ParadigmFindings[] {
  return paradigmOrder.flatMap((paradigm) => {
    const own = rows.filter((r) => r.paradigm === paradigm);
    if (own.length === 0) return [];
    const tasks = [...new Set(own.map((r) => r.task))];
    const sentences = tasks.flatMap((task) =>
      taskFindings(
        task,
        own.filter((r) => r.task === task),
        axes,
      ),
    );
    const warned = own.filter((r) => r.monitors.some((m) => m.warning));
    if (warned.length > 0) {
      sentences.push([{ strong: plural(warned.length, "warning") }, `: ${warned.map((r) => `${r.label} (${warningsOf(r)})`).join(", ")}.`]);
    }
    return [{ paradigm, sentences }];
  });
}

function warningsOf(row: ReportRow): string {
  return [...new Set(row.monitors.filter((m) => m.warning).map((m) => spell(m.id)))].join(", ");
}

function taskFindings(task: string, rows: readonly ReportRow[], axes: readonly Axis[]): Sentence[] {
  // Of what was tried in many ways, test results choose none.
  const compared = comparedRows(rows);
  const out = axes.flatMap((axis) => axis.findings?.(task, compared) ?? []);
  const lost = rows.filter((r) => r.status !== "ok");
  if (lost.length > 0) {
    out.push([{ strong: lost.map((r) => r.label).join(", ") }, ` gave no result on ${spell(task)}: see below.`]);
  }
  return out;
}
