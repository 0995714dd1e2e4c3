import type { AnyMethod, CellOutcome } from "@lfm/core";
import { contentHash } from "./content-hash.js";
import type { Plan } from "./plan.js";
import { collectVersions, describeMachine } from "./provenance.js";
import { writeReport } from "./report/write-report.js";
import { assembleResult } from "./run.js";
import type { Scenario } from "./scenario.js";
import { openStore, takeRunFolder } from "./store.js";
import { summarize, writeSummary } from "./summary.js";

/** What was measured outside of a suite. */
export interface MeasuredCell {
  readonly method: AnyMethod;
  readonly config: Readonly<Record<string, unknown>>;
  readonly task: Pick<Scenario, "id" | "paradigm" | "model" | "summary" | "headline" | "access">;
  readonly seed: number;
  readonly outcome: CellOutcome;
  readonly wallMs: number;
  readonly peakRssBytes: number;
  /** Description of the engine. */
  readonly engine: string;
  readonly started: Date;
}

/**
 * Writes a folder of a run with one cell, as a suite leaves it: its result, summary.json and the report in all forms. `lfm report` and
 * `lfm compare` read it.
 * @returns paths of the report
 * @throws {LfmError} FILE_IO, CONFIG_INVALID for a folder that holds something else
 */
export function writeMeasuredCell(dir: string, name: string, cell: MeasuredCell): ReturnType<typeof writeReport> {
  const { method, task, seed, engine, outcome, wallMs, peakRssBytes, started } = cell;
  const { id, paradigm, model, summary, headline, access } = task;
  const config = { ...cell.config };
  const versions = collectVersions();
  const identity = { paradigm, scenario: id, model, method: method.id, seed, config };
  const planned = {
    ...identity,
    hash: contentHash({ ...identity, access, engine, versions }),
    headline,
    options: {},
    access,
    requires: [],
  };
  const plan: Plan = {
    suite: name,
    summary,
    engine,
    seeds: [seed],
    versions,
    cells: [planned],
    tasks: [{ paradigm, id, model, summary, headline }],
    methods: [{ paradigm, id: method.id, summary: method.summary, paper: method.paper }],
  };
  const machine = describeMachine();
  const result = assembleResult(planned, plan, { status: "ok", outcome, wallMs, setupMs: 0, peakRssBytes, engine }, machine);
  const release = takeRunFolder(dir);
  try {
    openStore(dir).write(result);
    writeSummary(
      dir,
      summarize(plan, () => result, { started, wallMs, machine }),
    );
    return writeReport(dir);
  } finally {
    release();
  }
}
