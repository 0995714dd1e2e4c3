import { type CellResult, cellResultSchema, checkThreads, openTasks, type Progress, type TaskThread } from "@lfm/core";
import { z } from "zod";
import { cellName, type Plan, type PlannedCell, type PlanOptions, planSuite } from "./plan.js";
import { describeMachine } from "./provenance.js";
import { briefError } from "./runner/brief-error.js";
import { watchPeakMemory } from "./runner/peak-memory.js";
import type { CellEnd, Folders, WorkerInput } from "./runner/protocol.js";
import { runnerBase } from "./runner/runner-base.js";
import { openStore, takeRunFolder } from "./store.js";
import { type RunSummary, summarize, writeSummary } from "./summary.js";

export type RunEvent =
  /** `kept` of the cells have a result already. */
  | { readonly type: "plan"; readonly plan: Plan; readonly total: number; readonly kept: number }
  | { readonly type: "cell-start"; readonly cell: PlannedCell; readonly name: string; readonly index: number; readonly total: number }
  | { readonly type: "progress"; readonly cell: PlannedCell; readonly name: string; readonly progress: Progress }
  | { readonly type: "log"; readonly cell: PlannedCell; readonly name: string; readonly message: string }
  | { readonly type: "cell-end"; readonly name: string; readonly result: CellResult; readonly index: number; readonly total: number };

export interface RunOptions extends PlanOptions {
  /** Folder of the run: results/, summary.json, later the report. Finished cells in it are kept. */
  readonly out: string;
  /** Worker threads. Default 1; more share the cores and hold their own copies of shared things. */
  readonly jobs?: number;
  /** Threads inside one operation. Default: the engine's choice, as many as there are cores. */
  readonly threads?: number;
  /** Folders of real data and models. Default: LFM_DATA and LFM_MODELS of the environment. */
  readonly folders?: Folders;
  readonly signal?: AbortSignal;
  onEvent?(event: RunEvent): void;
}

export interface RunOutcome {
  readonly summary: RunSummary;
  /** True when the signal ended it; the same call goes on where it stopped. */
  readonly interrupted: boolean;
}

/**
 * Plans a suite and runs the cells that have no ok result yet in `out`. Every finished cell is on disk before the next begins,
 * and `summary.json` is written again with each: a killed run loses the cell it was in, nothing else.
 * @throws {LfmError} CONFIG_INVALID (suite, more jobs than a machine takes, a folder that holds something else), BACKEND_UNAVAILABLE (engine), FILE_IO (folder, or another process is at it). What a cell throws is its result.
 */
export async function runSuite(options: RunOptions): Promise<RunOutcome> {
  checkThreads(options.jobs);
  checkThreads(options.threads);
  const plan = await planSuite(options);
  const release = takeRunFolder(options.out);
  try {
    return await runPlan(plan, options);
  } finally {
    release();
  }
}

async function runPlan(plan: Plan, options: RunOptions): Promise<RunOutcome> {
  const started = new Date();
  const begin = performance.now();
  const machine = describeMachine();
  const folders = options.folders ?? { data: process.env.LFM_DATA, models: process.env.LFM_MODELS };
  const store = openStore(options.out);
  const say = options.onEvent ?? (() => {});
  const done = new Map<string, CellResult>();
  for (const cell of plan.cells) {
    const there = store.read(cell.hash);
    if (there?.status === "ok") done.set(cell.hash, there);
  }
  const queue = plan.cells.filter((c) => !done.has(c.hash));
  const total = queue.length;
  say({ type: "plan", plan, total: plan.cells.length, kept: plan.cells.length - total });

  const save = (): RunSummary => {
    const summary = summarize(plan, (hash) => done.get(hash), { started, wallMs: performance.now() - begin, machine });
    writeSummary(options.out, summary);
    return summary;
  };
  const finish = (cell: PlannedCell, part: ResultPart, index: number): void => {
    const result = assembleResult(cell, plan, part, machine);
    store.write(result);
    done.set(cell.hash, result);
    save();
    say({ type: "cell-end", name: cellName(cell), result, index, total });
  };
  save();

  let index = 0;
  const work = async (): Promise<void> => {
    let thread: TaskThread<string, PlannedCell, CellEnd> | undefined;
    const input: WorkerInput = { catalog: options.catalog, engine: options.engine ?? "auto", threads: options.threads, folders };
    let last: PlannedCell | undefined;
    try {
      while (queue.length > 0 && !options.signal?.aborted) {
        const cell = takeNext(queue, last);
        last = cell;
        const own = { cell, name: cellName(cell) };
        const at = index++;
        say({ type: "cell-start", ...own, index: at, total });
        const missing = cell.requires.filter((need) => folders[need] === undefined);
        if (missing.length > 0) {
          finish(cell, { status: "skipped", reason: skipReason(missing) }, at);
          continue;
        }
        if (!thread?.alive)
          thread = await openTasks(new URL("./run-worker.js", runnerBase()), input, options.signal ? { signal: options.signal } : {});
        // the signal may have fired while the thread started, when there was nothing to stop yet
        if (options.signal?.aborted) break;
        const memory = watchPeakMemory();
        const since = performance.now();
        const running = thread.run(cell, {
          progress: (progress) => say({ type: "progress", ...own, progress }),
          log: (message) => say({ type: "log", ...own, message }),
        });
        // What a cell throws is its result already: this is a thread that died.
        const died = (error: unknown): CellEnd => ({
          status: "failed",
          error: briefError(error),
          wallMs: performance.now() - since,
          setupMs: 0,
        });
        const end = await running.catch(died);
        const peakRssBytes = memory.stop();
        if (end.status === "stopped") break;
        finish(cell, { ...end, peakRssBytes, engine: thread.opened }, at);
      }
    } finally {
      await thread?.end();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(options.jobs ?? 1, total)) }, work));
  const summary = save();
  return { summary, interrupted: summary.pending.length > 0 && options.signal?.aborted === true };
}

/** With several threads each stays with the scenario and seed it has, so that shared things are made once where that can be. */
function takeNext(queue: PlannedCell[], last: PlannedCell | undefined): PlannedCell {
  const same = last ? queue.findIndex((c) => c.paradigm === last.paradigm && c.scenario === last.scenario && c.seed === last.seed) : -1;
  return queue.splice(Math.max(0, same), 1)[0]!;
}

function skipReason(missing: readonly ("data" | "models")[]): string {
  const names = missing.map((m) => (m === "data" ? "LFM_DATA" : "LFM_MODELS"));
  return `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} not set: the real ${missing.join(" and ")} are not at hand`;
}

type ResultPart =
  | { readonly status: "skipped"; readonly reason: string }
  | (Exclude<CellEnd, { status: "stopped" }> & { readonly peakRssBytes: number; readonly engine: string });

/** A result as it is stored; what is no valid one becomes a failure that says so. */
export function assembleResult(cell: PlannedCell, plan: Plan, part: ResultPart, machine: CellResult["machine"]): CellResult {
  const blank: CellResult = {
    schema: 1,
    hash: cell.hash,
    paradigm: cell.paradigm,
    method: cell.method,
    ...(cell.variant ? { variant: cell.variant } : {}),
    model: cell.model,
    task: cell.scenario,
    headline: cell.headline,
    seed: cell.seed,
    status: part.status,
    config: { ...cell.config },
    ...(Object.keys(cell.options).length > 0 ? { options: { ...cell.options } } : {}),
    access: [...cell.access],
    metrics: {},
    retention: null,
    trainableParams: null,
    bytes: null,
    queries: null,
    dataUsed: null,
    wallMs: part.status === "skipped" ? null : part.wallMs,
    setupMs: part.status === "skipped" ? null : part.setupMs,
    phasesMs: {},
    peakRssBytes: part.status === "skipped" ? null : part.peakRssBytes,
    security: null,
    monitors: [],
    curves: {},
    modelHash: null,
    dataHash: null,
    engine: part.status === "skipped" ? "" : part.engine,
    versions: { ...plan.versions },
    machine,
  };
  if (part.status === "skipped") return { ...blank, reason: part.reason };
  if (part.status === "failed") return { ...blank, error: part.error };
  const { phasesMs = {}, modelHash = null, dataHash = null, ...rest } = part.outcome;
  const parsed = cellResultSchema.safeParse({ ...blank, ...rest, phasesMs, modelHash, dataHash });
  if (parsed.success) return parsed.data;
  const message = `[@lfm/bench] ${cellName(cell)} handed back no valid result: ${z.prettifyError(parsed.error)}`;
  return { ...blank, status: "failed", error: { code: "INTERNAL", message } };
}
