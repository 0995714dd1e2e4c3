import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Engine,
  f32,
  type HostTensor,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  parseConfig,
  runMethod,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, modelFromConfig } from "@lfm/models";
import { type LearningTask, languageModelTask } from "@lfm/train";
import { expect } from "vitest";
import type { z } from "zod";
import type { TuningMethod, TuningOutput } from "../src/index.js";

/** Steps that a reference has taken, as tools/golden wrote them down. */
export interface GoldenSteps {
  get(name: string): HostTensor;
  /** Tensors below a name, without it. */
  all(above: string): Record<string, HostTensor>;
  readonly losses: Readonly<Record<string, readonly number[]>>;
}

export function goldenSteps(name: string): GoldenSteps {
  const folder = join(import.meta.dirname, "golden", name);
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const { losses } = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Pick<GoldenSteps, "losses">;
  const get = (key: string): HostTensor => loadWeight(tensors[key]!);
  return {
    get,
    losses,
    all: (above) =>
      Object.fromEntries(
        Object.keys(tensors).flatMap((key) => (key.startsWith(above) ? [[key.slice(above.length), get(key)] as const] : [])),
      ),
  };
}

/** A small model that the goldens are of. */
export function goldenModel(kind: string): Model {
  const folder = join(import.meta.dirname, "../../models/test/golden", kind);
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
  return modelFromConfig(config, readWeights(join(folder, "model.safetensors")).weights);
}

/** The batches that the goldens of language models learn from. */
export function goldenTask({ get }: GoldenSteps): LearningTask {
  return languageModelTask("golden", (step) => ({
    tokens: get(`batch.${step}/in/tokens`),
    weights: get(`batch.${step}/in/weights`),
  }));
}

/** The method's own run, on from the tensors that the reference started with: its five steps of AdamW. */
export async function goldenRun<S extends z.ZodObject>(
  method: TuningMethod<S>,
  given: { readonly model: Model; readonly task: LearningTask; readonly alsoTrain?: readonly string[] },
  start: Readonly<Record<string, HostTensor>>,
  options: z.input<S>,
  losses: readonly number[],
  context: MethodContext,
): Promise<TuningOutput> {
  const all = { steps: losses.length, lr: 0.01, weightDecay: 0.1, modelDropout: false, ...options };
  const from = makeDelta(method, parseConfig(method, all), start);
  const output = await runMethod(method, { ...given, from }, all, context);
  for (const [i, [, loss]] of output.curves.loss!.entries()) expect(Math.abs(loss - losses[i]!), `loss of step ${i}`).toBeLessThan(1e-4);
  return output;
}

/** Largest difference of two tensors of one shape. */
export function worst(a: HostTensor, b: HostTensor): number {
  expect(a.shape).toEqual(b.shape);
  let most = 0;
  for (let i = 0; i < a.data.length; i++) most = Math.max(most, Math.abs(Number(a.data[i]) - Number(b.data[i])));
  return most;
}

/** Rows of i32[rows, length]. */
export function rowsOf({ data, shape }: HostTensor): number[][] {
  const length = shape[1]!;
  return Array.from({ length: shape[0]! }, (_, b) => Array.from(data.slice(b * length, (b + 1) * length), Number));
}

/** Logits of every position of each row, held to a reference's. */
export async function expectLogits(
  engine: Engine,
  model: Model,
  rows: readonly (readonly number[])[],
  expected: HostTensor,
  within: number,
): Promise<void> {
  const predictor = await createPredictor(engine, model, "logits");
  const answers = await predictor.predict(rows);
  await predictor.dispose();
  const all = answers.flatMap((row) => Array.from(row.data, Number));
  expect(worst(f32(all, expected.shape), expected)).toBeLessThan(within);
}
