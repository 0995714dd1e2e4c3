/**
 * `npm run zoo`: makes the zoo's language model from nothing — world, curriculum, training, rounding to bf16, evaluation — and writes
 * packages/models/zoo. A stopped run goes on where it was; `npm run zoo -- --fresh` starts again, `--threads N` sets the threads (2).
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Engine, type HostTensor, loadWeight, ortEngine, widenToF32 } from "@lfm/core";
import { createWorld, type World, zooEvaluation } from "@lfm/data";
import { hashWeights, readSafetensors, writeSafetensors } from "@lfm/formats";
import { type LlamaConfig, llama } from "@lfm/models";
import { createAnswerer, type ZooRecipe } from "@lfm/models/zoo";
import { modelConfig, recipe } from "./recipe.js";
import { openSession } from "./session.js";
import { type LogRow, learnFull, learnReading, learnWide } from "./train.js";

const { values: flags } = parseArgs({ options: { fresh: { type: "boolean" }, threads: { type: "string", default: "2" } } });
const root = join(import.meta.dirname, "../..");
const target = join(root, "packages/models/zoo");
const scratch = join(root, ".cache/zoo");
if (flags.fresh) rmSync(scratch, { recursive: true, force: true });
mkdirSync(target, { recursive: true });

const threads = Number(flags.threads);
const engine = await ortEngine({ threads });
const world = createWorld(recipe.world);
const session = openSession(scratch);
const context = { ...session, engine, world };

const read = await session.once("reading", () => learnReading(context));
const narrow = await session.once("full", () => learnFull(context, read));
const learned = await session.once("wide", () => learnWide(context, narrow));

const weights = join(target, "lm.safetensors");
const config = modelConfig(world.vocabulary.size, recipe.wide);
await writeSafetensors(weights, learned, { dtype: "bf16", metadata: { format: "pt" } });
const { tensors } = readSafetensors(weights);
const stored = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, widenToF32(loadWeight(t))]));
const evaluation = await evaluate(engine, world, config, stored);
const about = {
  ...recipe,
  parameters: Object.values(stored).reduce((n, t) => n + t.data.length, 0),
  sha256: await hashWeights(tensors),
  evaluation,
  questions: Object.fromEntries(Object.entries(zooEvaluation(world)).map(([set, prompts]) => [set, prompts.length])),
  minutes: Number(session.minutes().toFixed(1)),
  processes: session.processes,
  threads,
  engine: engine.description,
  versions: { node: process.version, "onnxruntime-node": versionOf("onnxruntime-node") },
  machine: `${cpus()[0]?.model.trim()} × ${cpus().length}`,
} satisfies ZooRecipe & Record<string, unknown>;
writeFileSync(join(target, "lm.config.json"), `${JSON.stringify(config, null, 2)}\n`);
writeFileSync(join(target, "lm.recipe.json"), `${JSON.stringify(about, null, 2)}\n`);
writeFileSync(join(target, "lm.log.csv"), csv(session.rows));
session.clear();

console.log(JSON.stringify(evaluation, null, 2));
const least = {
  trained: 0.95,
  heldOut: 0.95,
  reading: 0.9,
  readingConsequences: 0.85,
  consequences: 0.8,
  unseenWithPassage: 0.85,
} as const;
const missed = (Object.keys(least) as (keyof typeof least)[])
  .filter((set) => evaluation[set] < least[set])
  .map((set) => `${set} >= ${least[set]}`);
if (evaluation.unseen > 0.1) missed.push("unseen <= 0.1");
console.log(missed.length === 0 ? "the zoo is ready" : `the zoo misses ${missed.join(", ")}`);
process.exitCode = missed.length === 0 ? 0 : 1;

/** Shares of right answers of the weights as a user loads them: rounded to bf16, widened again. */
async function evaluate(
  engine: Engine,
  world: World,
  config: LlamaConfig,
  weights: Readonly<Record<string, HostTensor>>,
): Promise<ZooRecipe["evaluation"]> {
  const answerer = await createAnswerer(engine, llama(config, weights), world);
  const shares: Record<string, number> = {};
  for (const [set, prompts] of Object.entries(zooEvaluation(world)) as [string, readonly { prompt: string; answer: string }[]][]) {
    const words = await answerer.answer(prompts.map((p) => p.prompt));
    shares[set] = Number((words.filter((word, i) => word === prompts[i]!.answer).length / prompts.length).toFixed(4));
  }
  await answerer.dispose();
  return shares as unknown as ZooRecipe["evaluation"];
}

function versionOf(dependency: string): string {
  return (JSON.parse(readFileSync(join(root, "node_modules", dependency, "package.json"), "utf8")) as { version: string }).version;
}

function csv(rows: readonly LogRow[]): string {
  const number = (x: number): string => x.toFixed(4);
  const lines = rows.map((r) =>
    [r.phase, r.step, r.stage, number(r.loss), number(r.reading), number(r.recall), number(r.hops), number(r.consequences)].join(","),
  );
  return `${["phase,step,stage,loss,reading,recall,hops,consequences", ...lines].join("\n")}\n`;
}
