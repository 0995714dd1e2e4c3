import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type AnyMethod, inputsOf, isLfmError, LfmError, parseConfig, Rng, throwIfAborted } from "@lfm/core";
import { readJsonFile, writeTextFile } from "@lfm/formats";
import { z } from "zod";
import { kebab, schemaFlags } from "../commands/schema-flags.js";
import { askedOf, filesOf } from "../inputs/sources.js";
import { withResult } from "../outputs/result-folder.js";
import { runIdentity } from "../outputs/run-identity.js";
import { loadMethod } from "../paradigms.js";
import type { JobContext, JobRequest, JobResult, RunJob } from "../program/job.js";
import { formatTable } from "../render/table.js";
import { type Outcome, openJournal, type SweepJournal } from "../sweep/journal.js";
import { rungsOf } from "../sweep/rungs.js";
import { type Choice, drawFrom, gridOf, readSpace } from "../sweep/space.js";

export interface SweepRequest extends JobRequest {
  readonly method: string;
  readonly out: string;
  readonly overwrite?: boolean;
  readonly fresh?: boolean;
  /** `lr=1e-4,1e-3`: see readSpace. */
  readonly over?: readonly string[];
  readonly strategy: "grid" | "random" | "halving";
  /** Combinations that are drawn. */
  readonly trials?: number;
  /** Of the held-out examples. */
  readonly metric: string;
  /** Each combination is trained once with each; its score is the mean. */
  readonly seeds?: readonly number[];
  /** Of successive halving. */
  readonly eta: number;
}

/** A combination of options, and what it scored. */
interface Candidate {
  readonly number: number;
  readonly choice: Choice;
  /** Of the last rung that it was in; absent for the method's own. */
  readonly steps?: number;
  /** By seed. */
  readonly outcomes: readonly Outcome[];
  /** Mean over the seeds; absent where one failed. */
  readonly score?: number;
}

/** Metrics of which less is better. */
const ERRORS = ["loss", "mse"];
const DRAWN = 20;

/** `lfm sweep METHOD --over …`: trains a method with many settings; held-out examples choose, and the best is the result. Each trial is a job. */
export async function sweep(request: SweepRequest, job: JobContext, run: RunJob): Promise<JobResult> {
  if (request.valid === undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: held-out examples choose, and none are given", { hint: "--valid dev.jsonl" });
  const method = await loadMethod(request.method);
  const candidates = candidatesOf(method, request);
  const config: Readonly<Record<string, unknown>> = parseConfig(method, request.config, request.preset);
  const rungs =
    request.strategy === "halving"
      ? rungsOf(candidates.length, stepsOf(config, request), request.eta)
      : [{ candidates: candidates.length }];
  const inputs = inputsOf(method);
  const { over, strategy, trials, metric, seeds, eta, seed = 0 } = request;
  const place = { overwrite: request.overwrite === true, inputs: filesOf(inputs, request), goesOn: true };
  return withResult(request.out, place, async (output) => {
    const asked = { over, strategy, trials, metric, seeds, eta, steps: config.steps, epochs: config.epochs };
    const identity = {
      ...(await runIdentity(`sweep of ${request.method}`, { config, request, asked: () => askedOf(inputs, request) })),
      ...Object.fromEntries(Object.entries(asked).flatMap(([k, v]) => (v === undefined ? [] : [[`--${k}`, JSON.stringify(v)]]))),
    };
    const journal = openJournal(output.partial, identity, request.fresh === true);
    const total = rungs.reduce((n, r) => n + r.candidates, 0) * (seeds ?? [seed]).length;
    const runTrial = trialRunner(method, request, job, run, journal, total);
    const all = new Map<number, Candidate>();
    let field: readonly Candidate[] = candidates.map((choice, i) => ({ number: i + 1, choice, outcomes: [] }));
    let rung = 0;
    for (const { candidates: most, steps } of rungs as readonly { readonly candidates: number; readonly steps?: number }[]) {
      const scored: Candidate[] = [];
      for (const candidate of field.slice(0, most)) {
        const outcomes: Outcome[] = [];
        for (const s of seeds ?? [seed]) outcomes.push(await runTrial(trialName(rung, candidate.number, s), candidate.choice, s, steps));
        const score = scoreOf(outcomes, metric);
        scored.push({ ...candidate, outcomes, ...(steps === undefined ? {} : { steps }), ...(score === undefined ? {} : { score }) });
        // Only one of a rung can win: the others' weights are not kept.
        const [best] = ranked(scored, metric);
        for (const c of scored)
          for (const s of seeds ?? [seed])
            if (c !== best) rmSync(journal.folderOf(trialName(rung, c.number, s)), { recursive: true, force: true });
      }
      field = ranked(scored, metric);
      for (const c of field) all.set(c.number, c);
      rung++;
    }
    const table = ranked([...all.values()], metric);
    const best = table[0]!;
    if (best.score === undefined)
      throw new LfmError(
        "NUMERIC_DIVERGED",
        `lfm: none of ${candidates.length} settings could be trained: ${best.outcomes[0]?.failed ?? ""}`,
        {
          hint: "sweep over smaller values of --lr",
        },
      );
    const winner = trialName(rung - 1, best.number, (seeds ?? [seed])[0]!);
    const flags = flagsFor(best.choice);
    const value = {
      method: request.method,
      metric,
      strategy,
      seeds: seeds ?? [seed],
      best: { choice: best.choice, score: best.score, flags },
      trials: table.map(({ outcomes, ...c }) => ({ ...c, seconds: outcomes.reduce((n, o) => n + o.seconds, 0), outcomes })),
      out: request.out,
    };
    await output.finish((folder) => {
      cpSync(journal.folderOf(winner), folder, { recursive: true });
      writeTextFile(join(folder, "sweep.json"), `${JSON.stringify(value, null, 2)}\n`);
    });
    return {
      value,
      text: `${tableOf(table, metric)}\nbest: ${flags}\nsaved to ${request.out}: what ${flags} learned, and all trials in sweep.json`,
    };
  });
}

/** @throws {LfmError} CONFIG_INVALID for what the method refuses, before anything is trained */
function candidatesOf(method: AnyMethod, request: SweepRequest): readonly Choice[] {
  const { over = [], strategy, trials, preset, seed = 0 } = request;
  if (over.length === 0) throw new LfmError("CONFIG_INVALID", "lfm: nothing is swept over", { hint: "--over lr=1e-4,1e-3,1e-2" });
  const space = readSpace(over, [method.config, ...inputsOf(method).flatMap(({ options }) => options ?? [])].flatMap(schemaFlags));
  const drawn = strategy === "random" || (strategy === "halving" && (trials !== undefined || space.some((d) => !("values" in d))));
  if (trials !== undefined && !drawn)
    throw new LfmError("CONFIG_INVALID", "lfm: a grid has as many trials as combinations", {
      hint: "--strategy random, or leave --trials out",
    });
  const found = drawn ? drawFrom(space, trials ?? DRAWN, new Rng(seed).split("sweep")) : gridOf(space);
  for (const choice of found) parseConfig(method, optionsWith(method, request, choice).config, preset);
  return found;
}

/** The options of a request with a choice in them: the method's own, and those that its inputs bring (an objective's β). */
function optionsWith(
  method: AnyMethod,
  { config = {}, inputOptions = {} }: SweepRequest,
  choice: Choice,
): Required<Pick<JobRequest, "config" | "inputOptions">> {
  const own = { ...config };
  const brought: Record<string, Readonly<Record<string, unknown>>> = { ...inputOptions };
  for (const [key, value] of Object.entries(choice)) {
    const input = Object.hasOwn(method.config.shape, key)
      ? undefined
      : inputsOf(method).find(({ options }) => options && key in options.shape);
    if (input) brought[input.field] = { ...brought[input.field], [key]: value };
    else own[key] = value;
  }
  return { config: own, inputOptions: brought };
}

function stepsOf(config: Readonly<Record<string, unknown>>, { over = [] }: SweepRequest): number {
  const swept = over.some((text) => /^(--)?(steps|epochs)=/.test(text));
  if (typeof config.steps === "number" && config.epochs === undefined && !swept) return config.steps;
  throw new LfmError("CONFIG_INVALID", "lfm: successive halving deals out --steps itself", {
    hint: "give --steps for the last rung, no --epochs, and sweep over neither",
  });
}

const trialName = (rung: number, candidate: number, seed: number): string => `${rung}-${candidate}-${seed}`;

const reported = z.looseObject({
  valid: z.looseObject({ after: z.record(z.string(), z.number()) }),
  seconds: z.number(),
});

function trialRunner(
  method: AnyMethod,
  request: SweepRequest,
  job: JobContext,
  run: RunJob,
  journal: SweepJournal,
  total: number,
): (trial: string, choice: Choice, seed: number, steps?: number) => Promise<Outcome> {
  const { over, strategy, trials, metric, seeds, eta, fresh, ...rest } = request;
  let done = 0;
  return async (trial, choice, seed, steps) => {
    const place = `trial ${++done}/${total}`;
    const before = journal.find(trial);
    if (before) return before;
    throwIfAborted(job.signal, `lfm: ${place}`);
    const out = journal.folderOf(trial);
    const { config, inputOptions } = optionsWith(method, request, { ...choice, ...(steps === undefined ? {} : { steps }) });
    const inner: JobContext = {
      ...(job.signal ? { signal: job.signal } : {}),
      log: (message) => job.log(`${place}: ${message}`),
      progress: (p) => job.progress({ ...p, phase: `${place} ${p.phase}` }),
    };
    const started = performance.now();
    let found: Outcome;
    try {
      // Whole, but killed before the journal knew of it.
      const report = join(out, "report.json");
      const value = existsSync(report)
        ? readJsonFile(report)
        : (await run("method", { ...rest, config, inputOptions, seed, out }, inner)).value;
      const { valid, seconds } = reported.parse(value);
      found = { metrics: valid.after, seconds };
    } catch (error) {
      if (!isLfmError(error, "NUMERIC_DIVERGED")) throw error;
      rmSync(`${out}.partial`, { recursive: true, force: true });
      found = { failed: error.message, seconds: (performance.now() - started) / 1000 };
    }
    const value = found.metrics?.[metric];
    if (found.metrics && value === undefined)
      throw new LfmError("CONFIG_INVALID", `lfm: "${metric}" is not measured`, {
        hint: `--metric ${Object.keys(found.metrics).join(" | ")}`,
      });
    journal.keep(trial, found);
    job.log(
      `${place}: ${flagsFor(choice)}${steps === undefined ? "" : ` --steps ${steps}`}: ${value === undefined ? found.failed : `${metric} ${value.toFixed(4)}`}`,
    );
    return found;
  };
}

/** The best first; at last what failed. More steps before fewer: losers of an earlier rung had less. */
function ranked(candidates: readonly Candidate[], metric: string): readonly Candidate[] {
  const sign = ERRORS.includes(metric) ? 1 : -1;
  const key = ({ score }: Candidate): number => (score === undefined ? Number.POSITIVE_INFINITY : sign * score);
  return [...candidates].sort((a, b) => (b.steps ?? 0) - (a.steps ?? 0) || (key(a) === key(b) ? a.number - b.number : key(a) - key(b)));
}

function scoreOf(outcomes: readonly Outcome[], metric: string): number | undefined {
  const values = outcomes.map((o) => o.metrics?.[metric]);
  if (values.some((v) => v === undefined)) return undefined;
  return values.reduce((sum: number, v) => sum + v!, 0) / values.length;
}

/** As it is typed. */
function flagsFor(choice: Choice): string {
  return Object.entries(choice)
    .map(([key, v]) => (typeof v === "boolean" ? `--${v ? "" : "no-"}${kebab(key)}` : `--${kebab(key)} ${[v].flat().join(",")}`))
    .join(" ");
}

function tableOf(candidates: readonly Candidate[], metric: string): string {
  return formatTable(candidates, [
    { title: "settings", value: (c) => flagsFor(c.choice) },
    ...(candidates.some((c) => c.steps !== undefined)
      ? [{ title: "steps", value: (c: Candidate) => String(c.steps), align: "right" as const }]
      : []),
    { title: metric, value: (c) => (c.score === undefined ? "failed" : c.score.toFixed(4)), align: "right" },
    {
      title: "seeds",
      value: (c) => (c.outcomes.length < 2 ? "" : c.outcomes.map((o) => o.metrics?.[metric]?.toFixed(4) ?? "–").join(" ")),
    },
    { title: "seconds", value: (c) => c.outcomes.reduce((n, o) => n + o.seconds, 0).toFixed(1), align: "right" },
  ]);
}
