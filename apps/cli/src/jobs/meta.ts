import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError, type Model, Rng, runMethod } from "@lfm/core";
import { type ClassPool, createGlyphs, drawEpisode, loadOmniglot, sinusoidEpisodes } from "@lfm/data";
import { type Episode, type MetaInputs, type MetaOutput, metaMethods } from "@lfm/meta";
import { convnet, initWeights, mlp, saveModel } from "@lfm/models";
import { arrayClassification, arrayRegression } from "@lfm/train";
import { fileCheckpoint } from "../outputs/file-checkpoint.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

interface MetaRequest extends JobRequest {
  readonly family: "sinusoid" | "glyphs" | "omniglot";
  readonly ways: number;
  readonly shots?: number;
  readonly tasks: number;
  readonly out: string;
}

interface Family {
  readonly inputs: MetaInputs;
  /** Tasks of classes or curves that training never saw. */
  readonly unseen: readonly Episode[];
}

/** Tasks that the result is measured on. */
const TEST_TASKS = 200;

/** `lfm meta METHOD`: learns on a family of tasks and is measured on unseen ones. */
export async function meta(request: MetaRequest, job: JobContext): Promise<JobResult> {
  const method = metaMethods.find((m) => m.id === request.method)!;
  const context = await methodContext(request, job);
  const family = await openFamily(request);
  const checkpoint = fileCheckpoint(request.out);
  const started = performance.now();
  const output = (await runMethod(
    method,
    family.inputs as never,
    { ...request.config } as never,
    { ...context, checkpoint },
    request.preset,
  )) as MetaOutput;
  const seconds = (performance.now() - started) / 1000;
  const predictions = await output.predict(family.unseen);
  const metrics =
    request.family === "sinusoid"
      ? { mse: meanSquaredError(family.unseen, predictions) }
      : { accuracy: accuracy(family.unseen, predictions) };
  mkdirSync(request.out, { recursive: true });
  await saveModel(request.out, output.model);
  checkpoint.clear();
  const value = {
    method: `meta/${method.id}`,
    family: request.family,
    ways: request.ways,
    shots: shotsOf(request),
    testTasks: family.unseen.length,
    metrics,
    seconds,
    out: request.out,
  };
  writeFileSync(join(request.out, "report.json"), `${JSON.stringify({ ...value, curves: output.curves }, null, 2)}\n`);
  const [[name, score]] = Object.entries(metrics) as [[string, number]];
  return {
    value,
    text: `${value.method} on ${request.family}: ${name} ${score.toFixed(4)} on ${family.unseen.length} unseen tasks, ${seconds.toFixed(1)} s; saved to ${request.out}`,
  };
}

function shotsOf(request: MetaRequest): number {
  return request.shots ?? (request.family === "sinusoid" ? 10 : 1);
}

async function openFamily(request: MetaRequest): Promise<Family> {
  const seed = request.seed ?? 0;
  const shots = shotsOf(request);
  if (request.family === "sinusoid") {
    const fresh = mlp({ input_size: 1, hidden_sizes: [40, 40], output_size: 1, task: "regressor" });
    const model: Model = { ...fresh, params: initWeights(fresh.info, { seed }) };
    const options = { seed, shots, tasks: request.tasks };
    return {
      inputs: {
        model,
        task: arrayRegression("sinusoid", "features", [1], 1),
        episodes: (step) => sinusoidEpisodes({ ...options, split: "train" }, step),
      },
      unseen: sinusoidEpisodes({ ...options, split: "test", tasks: TEST_TASKS }, 0),
    };
  }
  const { train, test, size } = request.family === "glyphs" ? glyphPools(seed) : await omniglotPools();
  const itemShape = [1, size, size];
  const fresh = convnet({ channels: 1, image_size: size, widths: size >= 28 ? [64, 64, 64, 64] : [32, 32, 32] });
  const model: Model = { ...fresh, params: initWeights(fresh.info, { seed }) };
  const draw = (pools: readonly ClassPool[], name: string, step: number, n: number): Episode[] => {
    const rng = new Rng(seed).split(name).split(step);
    return Array.from({ length: n }, () => drawEpisode(pools, itemShape, { ways: request.ways, shots, queries: 5 }, rng));
  };
  return {
    inputs: {
      model,
      task: arrayClassification(request.family, "pixels", itemShape),
      ways: request.ways,
      episodes: (step) => draw(train, "train", step, request.tasks),
    },
    unseen: draw(test, "test", 0, TEST_TASKS),
  };
}

function glyphPools(seed: number): { train: ClassPool[]; test: ClassPool[]; size: number } {
  const world = createGlyphs({ seed, classes: 80 });
  const pool = (label: number): ClassPool => ({ count: 40, item: (i) => world.image("train", label, i) });
  const all = Array.from({ length: 80 }, (_, label) => pool(label));
  return { train: all.slice(0, 60), test: all.slice(60), size: world.size };
}

async function omniglotPools(): Promise<{ train: ClassPool[]; test: ClassPool[]; size: number }> {
  const set = await loadOmniglot(process.env.LFM_DATA === undefined ? {} : { folder: process.env.LFM_DATA });
  const pools = (split: "train" | "test"): ClassPool[] =>
    set.splits[split].map((c) => ({ count: c.drawings.length, item: (i) => c.drawings[i]! }));
  if (set.size < 16) throw new LfmError("CONFIG_INVALID", "lfm: drawings of fewer than 16 pixels leave nothing after four halvings");
  return { train: pools("train"), test: pools("test"), size: set.size };
}

function accuracy(episodes: readonly Episode[], predictions: Awaited<ReturnType<MetaOutput["predict"]>>): number {
  let [right, total] = [0, 0];
  for (const [k, e] of episodes.entries()) {
    const logits = predictions[k]!;
    const ways = logits.shape[1]!;
    for (let i = 0; i < e.query.labels!.data.length; i++) {
      const row = (logits.data as Float32Array).subarray(i * ways, (i + 1) * ways);
      if (row.indexOf(Math.max(...row)) === Number(e.query.labels!.data[i])) right++;
      total++;
    }
  }
  return right / total;
}

function meanSquaredError(episodes: readonly Episode[], predictions: Awaited<ReturnType<MetaOutput["predict"]>>): number {
  let [sum, n] = [0, 0];
  for (const [k, e] of episodes.entries()) {
    for (let i = 0; i < e.query.y!.data.length; i++) {
      sum += (Number(predictions[k]!.data[i]) - Number(e.query.y!.data[i])) ** 2;
      n++;
    }
  }
  return sum / n;
}
