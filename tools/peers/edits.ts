/**
 * `npm run peers:edits -- [rome] [memit] [--edits 100] [--any]`: single edits of SmolLM2 on CounterFact by ours and by the papers' formulas in
 * torch, in turn in one run: the same facts (those that the model knows, with --any all), prefixes, statistics and settings (preset smollm2). Do
 * both do the same, and in what time and memory? Writes docs/peers/edits-METHOD.VENDOR.json. Needs LFM_DATA, LFM_MODELS and the Python of
 * LFM_PYTHON. Statistics are kept in .cache/edits.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createEngine, parseConfig } from "@lfm/core";
import { answerTokens, type EditRequest, memit, rome } from "@lfm/editing";
import { saveStats } from "@lfm/statistics";
import { chooseEdits } from "../../apps/bench/src/scenarios/editing/real-edits.js";
import { openReal, SMOLLM2 } from "../../apps/bench/src/scenarios/editing/real-model.js";
import type { RecordEdit } from "../../apps/bench/src/scenarios/editing/record-edits.js";
import { keptStatistics } from "../edits/key-statistics.js";
import { spread } from "./merge/whole-command.js";
import { machine, writeResult } from "./record.js";
import { type End, type Ready, type Repetition, Side, THREADS } from "./side.js";
import { writeTable } from "./table.js";

/** What both sides read. */
export interface EditsJob {
  readonly method: string;
  readonly model: string;
  readonly parent: string;
  /** The method's options, `layers` apart. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly layers: readonly number[];
  /** Second moments of keys: a safetensors file, by the name of the weight. */
  readonly statistics: string;
  readonly prefixes: readonly (readonly number[])[];
  readonly requests: readonly EditRequest[];
  /** What is asked about each edit, as tokens. */
  readonly probes: readonly (readonly AskedTokens[])[];
}

interface AskedTokens {
  readonly kind: string;
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  readonly rival: readonly number[];
}

interface Scored extends End {
  /** By edit and question: whether the answer is likelier per token than its rival. */
  readonly scores: readonly (readonly boolean[])[];
}

const SEED = 7;
/** Shares of questions may differ by so many points. */
const WITHIN = 2;
/** Time of theirs over ours after the first edit that is asked for. */
const TARGET = 1.5;
const ASKED = { efficacy: "ES", paraphrase: "PS", "same-value": "NS" } as const;
/** Spinning threads of one side must have gone to sleep before the next is timed. */
const PAUSE_MS = 200;

/** Settings of a method, and where it writes. */
const editors = {
  rome: () => {
    const config = parseConfig(rome, {}, "smollm2");
    return { config, layers: [config.layer!] };
  },
  memit: () => {
    const config = parseConfig(memit, {}, "smollm2");
    return { config, layers: config.layers! };
  },
} as const;
const isEditor = (id: string): id is keyof typeof editors => id in editors;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { edits: { type: "string", default: "100" }, any: { type: "boolean" } },
});
const { LFM_DATA: data, LFM_MODELS: models } = process.env;
if (data === undefined || models === undefined) throw new Error("set LFM_DATA and LFM_MODELS");
const methods = (positionals.length > 0 ? positionals : Object.keys(editors)).filter(isEditor);
for (const method of methods) await compareEdits(method, Number(values.edits), { data, models });
writeTable();

async function compareEdits(
  method: keyof typeof editors,
  count: number,
  folders: { readonly data: string; readonly models: string },
): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "lfm-edits-"));
  const sides: Side[] = [];
  try {
    const job = await jobOf(method, count, scratch, folders);
    const path = join(scratch, "job.json");
    writeFileSync(path, JSON.stringify(job));
    const [ours, theirs] = [Side.ours(["edits", path]), Side.theirs("edits.py", [path])];
    sides.push(ours, theirs);
    const versions = [await ours.next<Ready>(), await theirs.next<Ready>()].map((ready) => ready.versions);
    const rounds: (readonly [ours: Repetition, theirs: Repetition])[] = [];
    for (const [i] of job.requests.entries()) {
      const told = new Map<Side, Repetition>();
      for (const side of i % 2 === 0 ? [ours, theirs] : [theirs, ours]) {
        told.set(side, await side.repeat());
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
      rounds.push([told.get(ours)!, told.get(theirs)!]);
      process.stderr.write(`\r${method} ${i + 1}/${job.requests.length}`);
    }
    process.stderr.write("\n");
    const ends = [await ours.end<Scored>(), await theirs.end<Scored>()] as const;
    report(method, job, rounds, ends, Object.assign({ node: process.version }, ...versions));
  } finally {
    for (const side of sides) side.stop();
    rmSync(scratch, { recursive: true });
  }
}

async function jobOf(
  method: keyof typeof editors,
  count: number,
  scratch: string,
  folders: { readonly data: string; readonly models: string },
): Promise<EditsJob> {
  const engine = await createEngine("ort", { threads: THREADS });
  const run = { engine, seed: SEED, log: console.log, progress: () => {} };
  try {
    const real = await openReal({ folders });
    const { config, layers } = editors[method]();
    const statistics = join(scratch, "keys.gram.safetensors");
    await saveStats(statistics, await keptStatistics(real, layers, run));
    const file = join(folders.data, "counterfact/counterfact-edit-4k.json");
    const { edits } = await chooseEdits(real.base, file, { facts: values.any ? "any" : "known", records: "test", count }, run);
    if (edits.length < count) throw new Error(`the model knows ${edits.length} of the facts that were asked, not ${count}`);
    const probesOf = (edit: RecordEdit): readonly AskedTokens[] =>
      edit.probes.flatMap(({ kind, prompt, answer, rival }) =>
        rival === undefined
          ? []
          : [{ kind, ...answerTokens(real.base.rules, prompt, answer), rival: answerTokens(real.base.rules, prompt, rival).answer }],
      );
    return {
      method,
      model: join(folders.models, SMOLLM2),
      parent: real.hash,
      config,
      layers,
      statistics,
      prefixes: real.inputs.prefixes ?? [],
      requests: edits.map((edit) => edit.request),
      probes: edits.map(probesOf),
    };
  } finally {
    await engine.dispose();
  }
}

function report(
  method: string,
  { requests, probes, config }: EditsJob,
  rounds: readonly (readonly [Repetition, Repetition])[],
  ends: readonly [Scored, Scored],
  versions: Readonly<Record<string, string>>,
): void {
  const share = (of: Scored, kind: string): number => {
    const said = probes.flatMap((asked, i) => asked.flatMap((q, k) => (q.kind === kind ? [of.scores[i]![k]!] : [])));
    return (100 * said.filter(Boolean).length) / said.length;
  };
  const scores = Object.entries(ASKED).map(([kind, name]) => ({ name, ours: share(ends[0], kind), theirs: share(ends[1], kind) }));
  const [first, ...later] = rounds as [(typeof rounds)[number], ...typeof rounds];
  const ratio = spread(later.map(([a, b]) => b.ms / a.ms));
  const losses = Math.max(...rounds.map(([a, b]) => Math.abs(a.value - b.value)));
  const holds = scores.every(({ ours, theirs }) => Math.abs(ours - theirs) <= WITHIN);
  const name = `edits-${method}`;
  writeResult(name, {
    name,
    what: `one ${method} edit of the real SmolLM2-135M after the first, ${requests.length} CounterFact facts`,
    peer: "the papers' formulas in torch",
    target: TARGET,
    ratio,
    reached: ratio.median >= TARGET,
    oursMs: spread(later.map(([a]) => a.ms)),
    theirsMs: spread(later.map(([, b]) => b.ms)),
    firstEdit: { oursMs: first[0].ms, theirsMs: first[1].ms, reached: first[0].ms <= first[1].ms },
    oursPeakRssBytes: ends[0].peakRssBytes,
    theirsPeakRssBytes: ends[1].peakRssBytes,
    scores,
    agreement: { of: "ES, PS and NS, points", within: WITHIN, holds },
    lastLosses: { largestDifference: losses },
    config,
    edits: requests.length,
    threads: THREADS,
    versions,
    machine,
    date: new Date().toISOString().slice(0, 10),
  });
  const mib = (n: number): string => `${(n / 2 ** 20).toFixed(0)} MiB`;
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
  console.log(
    [
      `${name}, ${requests.length} edits, ours / theirs: ${scores.map((s) => `${s.name} ${s.ours.toFixed(1)} / ${s.theirs.toFixed(1)}`).join(", ")}`,
      `an edit ${seconds(spread(later.map(([a]) => a.ms)).median)} / ${seconds(spread(later.map(([, b]) => b.ms)).median)}, ratio ${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}; target ${TARGET})`,
      `the first ${seconds(first[0].ms)} / ${seconds(first[1].ms)}; peak RSS ${mib(ends[0].peakRssBytes)} / ${mib(ends[1].peakRssBytes)}`,
    ].join("\n"),
  );
  if (!holds) process.exitCode = 1;
}
