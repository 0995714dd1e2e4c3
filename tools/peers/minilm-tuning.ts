/**
 * `npm run peers:minilm -- [TASK/METHOD…] [--steps N]`: MiniLM tuned on CLINC150 and SST-2, by ours and by
 * transformers and PEFT, with the settings of suite real, the same batches and the same starting point: are the accuracies the same?
 * Needs LFM_DATA, LFM_MODELS and the Python of LFM_PYTHON. Ours are cells of the bench: finished ones in .cache/results/real (or LFM_RESULTS) are
 * kept. --steps shortens both sides. Rows of docs/peers/minilm-tuning.json that are not asked for stay.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readRun, readSuite, runSuite, type Suite } from "@lfm/bench";
import { type CellResult, type HostTensor, parseConfig, Rng } from "@lfm/core";
import { loadClassification } from "@lfm/data";
import { writeSafetensors } from "@lfm/formats";
import { withClassifier } from "@lfm/models";
import { full, initLora, lora, targetSites } from "@lfm/tuning";
import { BATCH, epochOrder, loadSentenceModel, MINILM } from "../../apps/bench/src/scenarios/minilm/sentence-model.js";
import { sentenceProblems } from "../../apps/bench/src/scenarios/minilm/tuning.js";

type SuiteCell = Suite["cells"][number];

const SEED = 1;
/** Difference of accuracies that is allowed, as a fraction. */
const WITHIN = 0.01;
const root = join(import.meta.dirname, "../..");
const target = join(root, "docs/peers/minilm-tuning.json");
const { values: options, positionals: asked } = parseArgs({ allowPositionals: true, options: { steps: { type: "string" } } });
const { LFM_DATA: data, LFM_MODELS: models } = process.env;
if (data === undefined || models === undefined) throw new Error("set LFM_DATA and LFM_MODELS");

interface Theirs {
  readonly accuracy: number;
  readonly losses: readonly number[];
  readonly trainableParams: number;
  readonly trainMs: number;
  readonly versions: Readonly<Record<string, string>>;
}

const isProblem = (id: string): id is keyof typeof sentenceProblems => id in sentenceProblems;
const nameOf = (cell: SuiteCell): string => `${cell.scenario}/${cell.method}`;

const suite = readSuite("real");
const cells = suite.cells
  .filter((c) => c.paradigm === "tuning" && isProblem(c.scenario) && (c.method === "full" || c.method === "lora"))
  .filter((c) => asked.length === 0 || asked.includes(nameOf(c)))
  .map((c) => (options.steps === undefined ? c : { ...c, config: { ...c.config, steps: Number(options.steps) } }));

for (const cell of cells) {
  const [mine, peer] = [await ours(cell), await theirs(cell)];
  const accuracy = mine.metrics.accuracy!.value!;
  const curve = mine.curves.loss!.map(([, loss]) => loss);
  const row = {
    config: mine.config,
    ours: { accuracy, trainableParams: mine.trainableParams, trainMs: mine.phasesMs.train, lastLoss: curve.at(-1) },
    theirs: { accuracy: peer.accuracy, trainableParams: peer.trainableParams, trainMs: peer.trainMs, lastLoss: peer.losses.at(-1) },
    difference: accuracy - peer.accuracy,
    within: WITHIN,
    holds: Math.abs(accuracy - peer.accuracy) <= WITHIN,
    /** Largest relative difference of the losses of the first ten steps. */
    firstLosses: Math.max(...peer.losses.slice(0, 10).map((loss, i) => Math.abs(curve[i]! - loss) / loss)),
    versions: { ...mine.versions, ...peer.versions },
    date: new Date().toISOString().slice(0, 10),
  };
  mkdirSync(join(root, "docs/peers"), { recursive: true });
  const known = existsSync(target) ? (JSON.parse(readFileSync(target, "utf8")) as Record<string, unknown>) : {};
  writeFileSync(target, `${JSON.stringify({ ...known, [nameOf(cell)]: row }, null, 2)}\n`);
  const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
  console.log(
    `${nameOf(cell)}, ${peer.losses.length} steps: ours ${percent(accuracy)}, theirs ${percent(peer.accuracy)} (difference ${(100 * row.difference).toFixed(2)} points, allowed ${100 * WITHIN}); first ten losses differ by at most ${row.firstLosses.toExponential(1)}`,
  );
  if (!row.holds) process.exitCode = 1;
}

async function ours(cell: SuiteCell): Promise<CellResult> {
  const out = process.env.LFM_RESULTS ?? join(root, ".cache/results/real");
  await runSuite({ suite: { ...suite, seeds: [SEED], cells: [cell] }, out });
  const [result] = readRun(out).results;
  if (result?.status !== "ok") throw new Error(`${nameOf(cell)}: ${result?.error?.message ?? result?.reason ?? "no result"}`);
  return result;
}

async function theirs(cell: SuiteCell): Promise<Theirs> {
  if (!isProblem(cell.scenario)) throw new Error(`no problem "${cell.scenario}"`);
  const { set, maxLength } = sentenceProblems[cell.scenario];
  const { labels, splits } = await loadClassification(set, { folder: data! });
  const config = cell.method === "lora" ? parseConfig(lora, cell.config, cell.preset) : parseConfig(full, cell.config, cell.preset);
  const order = epochOrder(splits.train.length, SEED);
  const folder = mkdtempSync(join(tmpdir(), "lfm-peer-"));
  try {
    await writeSafetensors(join(folder, "start.safetensors"), await start(cell, labels.length));
    const texts = (rows: typeof splits.train) => ({ texts: rows.map((r) => r.text), labels: rows.map((r) => r.label) });
    const job = {
      model: join(models!, MINILM),
      start: join(folder, "start.safetensors"),
      method: cell.method,
      config,
      classes: labels.length,
      maxLength,
      batch: BATCH,
      batches: Array.from({ length: config.steps }, (_, step) => order(step)),
      train: texts(splits.train),
      test: texts(splits.test),
    };
    writeFileSync(join(folder, "job.json"), JSON.stringify(job));
    return JSON.parse(await python([join(import.meta.dirname, "theirs/minilm_tuning.py"), join(folder, "job.json")])) as Theirs;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The fresh head, and LoRA's A, as the cell has them. */
async function start(cell: SuiteCell, classes: number): Promise<Record<string, HostTensor>> {
  const { model } = await loadSentenceModel({ folders: { data, models }, shared: (_key, make) => make() });
  const headed = withClassifier(model, classes, SEED, { pooling: "mean" });
  const head = Object.fromEntries(["classifier.weight", "classifier.bias"].map((name) => [name, headed.params[name] as HostTensor]));
  if (cell.method !== "lora") return head;
  const { targetModules, r } = parseConfig(lora, cell.config, cell.preset);
  const fresh = initLora(targetSites(headed, targetModules), r, new Rng(SEED).split("init"));
  return { ...head, ...Object.fromEntries(Object.entries(fresh).filter(([name]) => name.includes("lora_A"))) };
}

function python(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.env.LFM_PYTHON ?? "python3", args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TOKENIZERS_PARALLELISM: "false" },
    });
    let [out, errors] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-4000);
    });
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve(out) : reject(new Error(`the peer ended with code ${code}:\n${errors}`))));
  });
}
