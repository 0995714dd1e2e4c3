import type { Paradigm } from "@lfm/core";
import type { ReportRow } from "../aggregate.js";
import { barChart } from "../report/bars.js";
import { figure } from "../report/figures.js";
import { formatMs, spell } from "../report/format.js";
import { paradigmColor, paradigmTitles } from "../report/palette.js";
import { type Axis, overSeeds } from "./axis.js";

/** What cells made that others use too; not in their time. It belongs to a task, so no row shows it. */
export const setup: Axis = {
  id: "setupMs",
  unit: "ms",
  better: "lower",
  read: (cell) => cell.setupMs,
  csv: "setupMs",
  json: (row) => overSeeds(setup, row),
  tile: "shared set-up",
  appendix: (rows) => ({
    title: "Set-up that the cells of a task share",
    head: ["task", "paradigm", "time a seed"],
    lines: sharedSetups(rows).map(({ task, paradigm, ms }) => [task, paradigmTitles[paradigm], formatMs(ms)]),
  }),
  figure: {
    draw: (rows) => {
      const bars = sharedSetups(rows).map(({ paradigm, task, ms }) => ({
        label: spell(task),
        value: ms / 1000,
        text: formatMs(ms),
        color: paradigmColor(paradigm),
        title: `set-up of ${spell(task)}: ${formatMs(ms)} a seed`,
      }));
      if (bars.length === 0) return undefined;
      return figure(
        "Set-up",
        barChart(bars, { label: "Shared set-up", xTitle: "seconds a task and seed (log)", log: true, width: 400 }),
        "Made once and used by all cells of a task: data, teachers, models to merge, measurements of the untouched model.",
      );
    },
  },
};

/** A task with the set-up that its cells share. */
interface SharedSetup {
  readonly paradigm: Paradigm;
  readonly task: string;
  /** Milliseconds a seed, all cells of the task together. */
  readonly ms: number;
}

/** Set-up by task, in the order of the rows; tasks whose cells share none, or where it was not taken, are left out. */
function sharedSetups(rows: readonly ReportRow[]): readonly SharedSetup[] {
  const found = new Map<string, SharedSetup>();
  for (const row of rows) {
    const { paradigm, task } = row;
    const there = found.get(`${paradigm}/${task}`)?.ms ?? 0;
    found.set(`${paradigm}/${task}`, { paradigm, task, ms: there + (overSeeds(setup, row).mean ?? 0) });
  }
  return [...found.values()].filter(({ ms }) => ms >= 1);
}
