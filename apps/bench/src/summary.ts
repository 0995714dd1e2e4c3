import { join } from "node:path";
import { type CellResult, cellResultSchema, paradigms } from "@lfm/core";
import { writeTextFile } from "@lfm/formats";
import { z } from "zod";
import type { Plan } from "./plan.js";
import type { Machine } from "./provenance.js";
import { openStore, parseJson, SUMMARY } from "./store.js";

/** A result without what is long or the same in all cells. */
const cellSummarySchema = cellResultSchema.omit({
  schema: true,
  config: true,
  options: true,
  outputs: true,
  phasesMs: true,
  curves: true,
  modelHash: true,
  dataHash: true,
  engine: true,
  versions: true,
  machine: true,
});

const cellRefSchema = cellResultSchema.pick({
  hash: true,
  paradigm: true,
  method: true,
  variant: true,
  model: true,
  task: true,
  seed: true,
});

/** `summary.json`: a whole run in one file. */
const runSummarySchema = z.strictObject({
  schema: z.literal(1),
  suite: z.string(),
  summary: z.string(),
  engine: z.string(),
  seeds: z.array(z.number().int()),
  /** ISO 8601. */
  started: z.string(),
  /** Of this call; cells that were there already do not count. */
  wallMs: z.number(),
  machine: cellResultSchema.shape.machine,
  versions: z.record(z.string(), z.string()),
  tasks: z.array(
    z.strictObject({ paradigm: z.enum(paradigms), id: z.string(), model: z.string(), summary: z.string(), headline: z.string() }),
  ),
  methods: z.array(
    z.strictObject({
      paradigm: z.enum(paradigms),
      id: z.string(),
      summary: z.string(),
      paper: z.strictObject({
        title: z.string(),
        arxiv: z.string().optional(),
        url: z.string().optional(),
        year: z.number(),
        survey: z.string().optional(),
      }),
    }),
  ),
  cells: z.array(cellSummarySchema),
  /** Planned cells without a result: the run was stopped before them. */
  pending: z.array(cellRefSchema),
});
export type RunSummary = z.output<typeof runSummarySchema>;
export type CellSummary = RunSummary["cells"][number];

/** A run as it lies in a folder: the summary, and the full results (configs, curves) of its cells, in the order of the plan. */
export interface StoredRun {
  readonly dir: string;
  readonly summary: RunSummary;
  readonly results: readonly CellResult[];
}

/** Puts the results of a plan together. */
export function summarize(
  plan: Plan,
  resultOf: (hash: string) => CellResult | undefined,
  run: { readonly started: Date; readonly wallMs: number; readonly machine: Machine },
): RunSummary {
  const results = plan.cells.map((cell) => resultOf(cell.hash));
  return {
    schema: 1,
    suite: plan.suite,
    summary: plan.summary,
    engine: results.find((r) => r && r.engine !== "")?.engine ?? plan.engine,
    seeds: [...plan.seeds],
    started: run.started.toISOString(),
    wallMs: run.wallMs,
    machine: run.machine,
    versions: { ...plan.versions },
    tasks: [...plan.tasks],
    methods: plan.methods.map((m) => ({ ...m, paper: { ...m.paper } })),
    cells: results.flatMap((r) => (r ? [toCellSummary(r)] : [])),
    pending: plan.cells.flatMap((cell, i) => {
      const { hash, paradigm, method, variant, model, scenario: task, seed } = cell;
      return results[i] ? [] : [{ hash, paradigm, method, ...(variant ? { variant } : {}), model, task, seed }];
    }),
  };
}

function toCellSummary(result: CellResult): CellSummary {
  const keys = Object.keys(cellSummarySchema.shape) as (keyof CellSummary)[];
  return Object.fromEntries(keys.flatMap((k) => (result[k] === undefined ? [] : [[k, result[k]]]))) as CellSummary;
}

export function writeSummary(dir: string, summary: RunSummary): void {
  writeTextFile(join(dir, SUMMARY), `${JSON.stringify(summary, null, 1)}\n`);
}

/** @throws {LfmError} FILE_IO where there is no summary.json, FILE_FORMAT where it or a result is broken or missing */
export function readRun(dir: string): StoredRun {
  const summary = parseJson(join(dir, SUMMARY), runSummarySchema, "no summary of a run");
  const store = openStore(dir);
  const results = summary.cells.map((c) => store.read(c.hash));
  return { dir, summary, results: results.flatMap((r) => (r ? [r] : [])) };
}
