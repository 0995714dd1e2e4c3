import { readFileSync } from "node:fs";
import { z } from "zod";
import { cellName, type PlannedCell } from "./plan.js";

/** What cells took when suites were last run for publication. */
export interface MeasuredTimes {
  /** Processor and cores. */
  readonly machine: string;
  /** By `paradigm/scenario/method/variant`: set-up and run of one seed, s. */
  readonly seconds: Readonly<Record<string, number>>;
}

/** How long a plan will take, one cell after the other. */
export interface ExpectedTime {
  readonly minutes: number;
  /** Of the machine that the times are of. */
  readonly machine: string;
  /** Cells whose time was measured. */
  readonly measured: number;
  /** Cells that are taken as the median of what was measured on their task. */
  readonly likeTheirTask: number;
  /** Cells of tasks that were never measured: not in `minutes`. */
  readonly unknown: number;
}

const schema = z.strictObject({ machine: z.string(), seconds: z.record(z.string(), z.number().nonnegative()) });

/** The times that come with the package. */
export function measuredTimes(): MeasuredTimes {
  return schema.parse(JSON.parse(readFileSync(new URL("../suites/times.json", import.meta.url), "utf8")));
}

/** Sums up what the cells of a plan took before; a cell that was never run is taken as the median of its task. */
export function expectedTime(cells: readonly PlannedCell[], { machine, seconds }: MeasuredTimes): ExpectedTime {
  const ofTask = new Map<string, number[]>();
  for (const [name, s] of Object.entries(seconds)) {
    const task = name.split("/").slice(0, 2).join("/");
    ofTask.set(task, [...(ofTask.get(task) ?? []), s]);
  }
  let [total, measured, likeTheirTask, unknown] = [0, 0, 0, 0];
  for (const cell of cells) {
    const known = seconds[cellName(cell)];
    const others = ofTask.get(`${cell.paradigm}/${cell.scenario}`);
    if (known !== undefined) measured++;
    else if (others) likeTheirTask++;
    else unknown++;
    total += known ?? (others ? median(others) : 0);
  }
  return { minutes: total / 60, machine, measured, likeTheirTask, unknown };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
}
