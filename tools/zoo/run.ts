/**
 * `npm run zoo`: makes the zoo's language model from nothing — world, curriculum, training, rounding to bf16, evaluation — and writes
 * packages/models/zoo. A stopped run goes on where it was; `npm run zoo -- --fresh` starts again.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { type Checkpoint, type CheckpointState, type HostTensor, loadWeight, ortEngine, type Progress, widenToF32 } from "@lfm/core";
import { createWorld, zooEvaluation } from "@lfm/data";
import { hashWeights, readSafetensors, writeSafetensors } from "@lfm/formats";
import { llama } from "@lfm/models";
import { createAnswerer } from "@lfm/models/zoo";
import { modelConfig, recipe } from "./recipe.js";
import { type LogRow, learnFull, learnReading, type Params } from "./train.js";

const root = join(import.meta.dirname, "../..");
const target = join(root, "packages/models/zoo");
const scratch = join(root, ".cache/zoo");
if (process.argv.includes("--fresh")) rmSync(scratch, { recursive: true, force: true });
mkdirSync(scratch, { recursive: true });
mkdirSync(target, { recursive: true });

const started = performance.now();
const threads = Math.min(2, cpus().length);
const engine = await ortEngine({ threads });
const world = createWorld(recipe.world);
const rows: LogRow[] = existsSync(join(scratch, "log.json"))
  ? (JSON.parse(readFileSync(join(scratch, "log.json"), "utf8")) as LogRow[])
  : [];

const file = (name: string): string => join(scratch, `${name}.safetensors`);
const checkpoint = (phase: string): Checkpoint => ({
  load: async () => {
    if (!existsSync(file(phase))) return undefined;
    const { metadata, tensors } = readSafetensors(file(phase));
    return { step: Number(metadata.step), tensors: Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.read()])) };
  },
  save: async (state: CheckpointState) => {
    await writeSafetensors(file(phase), state.tensors, { metadata: { step: String(state.step) } });
    writeFileSync(join(scratch, "log.json"), JSON.stringify(rows));
  },
});
const context = {
  engine,
  world,
  checkpoint,
  log: (row: LogRow): void => {
    rows.push(row);
    process.stderr.write(
      `${row.phase} step ${row.step} stage ${row.stage}: loss ${row.loss.toFixed(3)}, reading ${row.reading.toFixed(3)}, recall ${row.recall.toFixed(3)}${rate}\n`,
    );
  },
  progress: (p: Progress): void => {
    if (p.done === 1 || p.phase !== phase) [phase, since, first] = [p.phase, performance.now(), p.done];
    const perSecond = (p.done - first) / Math.max(1e-3, (performance.now() - since) / 1000);
    rate = ` (${perSecond.toFixed(1)} steps/s, at most ${((p.total - p.done) / Math.max(1e-3, perSecond) / 60).toFixed(1)} min left)`;
  },
};
let [phase, since, first, rate] = ["", 0, 0, ""];

const read = await once("reading", () => learnReading(context));
const learned = await learnFull(context, read);
await writeSafetensors(join(target, "lm.safetensors"), learned, { dtype: "bf16", metadata: { format: "pt" } });

// Measured as a user loads it: rounded to bf16, widened again.
const { tensors } = readSafetensors(join(target, "lm.safetensors"));
const config = modelConfig(world.vocabulary.size, recipe.full.layers);
const stored: Record<string, HostTensor> = Object.fromEntries(
  Object.entries(tensors).map(([name, t]) => [name, widenToF32(loadWeight(t))]),
);
const answerer = await createAnswerer(engine, llama(config, stored), world);
const evaluation: Record<string, number> = {};
for (const [name, prompts] of Object.entries(zooEvaluation(world))) {
  const words = await answerer.answer(prompts.map((p: { prompt: string }) => p.prompt));
  evaluation[name] = words.filter((w, i) => w === prompts[i]!.answer).length / prompts.length;
}
await answerer.dispose();

writeFileSync(join(target, "lm.config.json"), `${JSON.stringify(config, null, 2)}\n`);
writeFileSync(
  join(target, "lm.recipe.json"),
  `${JSON.stringify(
    {
      ...recipe,
      parameters: Object.values(learned).reduce((n, t) => n + t.data.length, 0),
      sha256: await hashWeights(tensors),
      evaluation,
      questions: Object.fromEntries(Object.entries(zooEvaluation(world)).map(([name, prompts]) => [name, prompts.length])),
      minutes: Number(((performance.now() - started) / 60000).toFixed(1)),
      threads,
      engine: engine.description,
      machine: cpus()[0]?.model ?? "unknown",
    },
    null,
    2,
  )}\n`,
);
writeFileSync(
  join(target, "lm.log.csv"),
  [
    "phase,step,stage,loss,reading,recall",
    ...rows.map((r) => `${r.phase},${r.step},${r.stage},${r.loss.toFixed(4)},${r.reading.toFixed(4)},${r.recall.toFixed(4)}`),
  ].join("\n") + "\n",
);
rmSync(scratch, { recursive: true, force: true });
console.log(JSON.stringify(evaluation, null, 2));
const reached = evaluation.trained! >= 0.95 && evaluation.heldOut! >= 0.85;
console.log(reached ? "the zoo is ready" : "the zoo does not reach its targets (trained ≥ .95, heldOut ≥ .85)");
process.exitCode = reached ? 0 : 1;

/** Runs a phase, or takes its result from a run that was stopped later. */
async function once(name: string, make: () => Promise<Params>): Promise<Params> {
  const done = file(`${name}-done`);
  if (existsSync(done)) return Object.fromEntries(Object.entries(readSafetensors(done).tensors).map(([k, t]) => [k, t.read()]));
  const params = await make();
  await writeSafetensors(done, params, {});
  return params;
}
