import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compileModel,
  type Delta,
  type Engine,
  f32,
  type HostTensor,
  i32,
  isPlain,
  loadWeight,
  type Model,
  parseConfig,
  plainWeights,
  Rng,
  referenceEngine,
  runMethod,
  sym,
  withDeltas,
} from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { arrayClassificationTask, type LearningTask, languageModelTask, tokenClassification, withBatches } from "@lfm/train";
import { expect } from "vitest";
import type { z } from "zod";
import { fromPeft, type TuningMethod, type TuningOutput, toPeft } from "../src/index.js";
import { goldenModel, worst } from "./golden-case.js";
import { testContext } from "./test-context.js";

const golden = join(import.meta.dirname, "golden");
const CLASSES = 5;
const json = (path: string): Record<string, unknown> => JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;

/** i32[rows, length] of a step's batch, and what its predictions weigh: those of every golden fixture. */
function batchOf(step: number): { readonly tokens: HostTensor; readonly weights: HostTensor } {
  const { tensors } = readSafetensors(join(golden, "llama/golden.safetensors"));
  return { tokens: loadWeight(tensors[`batch.${step}/in/tokens`]!), weights: loadWeight(tensors[`batch.${step}/in/weights`]!) };
}

function taskOf({ info }: Model, pixels?: HostTensor): LearningTask {
  if (pixels) {
    const batch = { x: pixels, labels: i32([0, 1]) };
    return arrayClassificationTask("golden", "pixels", pixels.shape.slice(1), () => batch);
  }
  if (info.task !== "classifier") return languageModelTask("golden", batchOf);
  return withBatches(tokenClassification("golden"), (step) => {
    const { tokens } = batchOf(step);
    const [rows, length] = tokens.shape as readonly [number, number];
    const labels = i32(Array.from({ length: rows }, (_, row) => Number(tokens.data[row * length]) % CLASSES));
    return { tokens, mask: f32(new Float32Array(rows * length).fill(1), tokens.shape), labels };
  });
}

export async function logitsOf(engine: Engine, model: Model, x: HostTensor): Promise<HostTensor> {
  const [, ...inner] = x.shape;
  const shape = x.dtype === "i32" ? [sym("batch"), sym("seq")] : [sym("batch"), ...inner];
  const f = await compileModel(engine, model, { x: { dtype: x.dtype, shape } }, ({ x }, params, at) => ({
    logits: at.forward(params, { [model.info.input]: x }, { mode: "eval" }).logits!,
  }));
  try {
    return (await f({ x })).logits;
  } finally {
    await f.dispose();
  }
}

/** What PEFT came to in a fixture of layer_tuning.py. */
function goldenEnd(name: string): {
  readonly base: string;
  readonly losses: readonly number[];
  readonly logits: HostTensor;
  readonly pixels: HostTensor | undefined;
} {
  const { base, losses } = json(join(golden, "peft", name, "golden.json")) as { base: string; losses: readonly number[] };
  const { "out/logits": logits, "in/pixels": pixels } = readSafetensors(join(golden, "peft", name, "golden.safetensors")).tensors;
  return { base, losses, logits: loadWeight(logits!), pixels: pixels && loadWeight(pixels) };
}

function expectLosses(curves: TuningOutput["curves"], losses: readonly number[], tolerance: number): void {
  expect(curves.loss!.length).toBe(losses.length);
  for (const [i, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[i]!), `loss of step ${i}`).toBeLessThan(tolerance);
}

/** The same where the method's own start is the reference's: losses, and logits with the delta and multiplied out. */
export async function expectPeftRun<S extends z.ZodObject>(method: TuningMethod<S>, name: string, options: z.input<S>): Promise<Delta> {
  const { base, losses, logits } = goldenEnd(name);
  const [context, model] = [await testContext(), goldenModel(base)];
  const all = { steps: losses.length, lr: 0.01, weightDecay: 0.1, modelDropout: false, ...options };
  const { delta, curves, model: tuned } = await runMethod(method, { model, task: taskOf(model) }, all, context);
  expectLosses(curves, losses, 1e-4);
  const [once, { tokens }] = [referenceEngine(), batchOf(0)];
  expect(worst(await logitsOf(once, tuned, tokens), logits), "logits").toBeLessThan(1e-4);
  const plain = { ...model, params: { ...model.params, ...(await plainWeights(once, model, [delta])) } };
  expect(worst(await logitsOf(once, plain, tokens), logits), "logits of plain weights").toBeLessThan(1e-4);
  return delta;
}

/**
 * Holds a method to a fixture of layer_tuning.py: from PEFT's start five AdamW steps with PEFT's losses to PEFT's tensors; PEFT's logits with the
 * delta and with weights that it is multiplied into; and its file written again with the same keys, shapes and bytes, and the same options.
 * @param tolerance of losses, tensors and logits; the rest are options that PEFT's file has no place for
 */
export async function expectPeftSteps<S extends z.ZodObject>(
  method: TuningMethod<S>,
  name: string,
  { tolerance = 1e-4, ...more }: { readonly tolerance?: number } & Partial<z.input<S>> = {},
): Promise<void> {
  const folder = join(golden, "peft", name);
  const { base, losses, logits: expected, pixels } = goldenEnd(name);
  const [context, model] = [await testContext(), goldenModel(base)];
  const [from, end] = ["start", "end"].map((part) => fromPeft(join(folder, part), model)) as [Delta, Delta];
  // The options of a delta were parsed by its method.
  const options = { ...from.config, steps: losses.length, lr: 0.01, weightDecay: 0.1, modelDropout: false, ...more } as z.input<S>;
  const alsoTrain = Object.keys(from.tensors).filter((tensor) => /^(classifier|score)\./.test(tensor));
  if (losses.length > 0) {
    const { delta, curves } = await runMethod(method, { model, task: taskOf(model, pixels), from, alsoTrain }, options, context);
    expectLosses(curves, losses, tolerance);
    expect(Object.keys(delta.tensors).sort()).toEqual(Object.keys(end.tensors).sort());
    for (const [tensor, t] of Object.entries(end.tensors)) expect(worst(delta.tensors[tensor]!, t), tensor).toBeLessThan(tolerance);
  }
  const x = pixels ?? batchOf(0).tokens;
  // Nothing is compiled for these, which takes longer than to compute them.
  const once = referenceEngine();
  expect(worst(await logitsOf(once, withDeltas(model, [end]), x), expected), "logits").toBeLessThan(tolerance);
  expect(isPlain(model, end)).toBe(true);
  const plain = { ...model, params: { ...model.params, ...(await plainWeights(once, model, [end])) } };
  expect(worst(await logitsOf(once, plain, x), expected), "logits of plain weights").toBeLessThan(tolerance);
  await expectSameFile(join(folder, "end"), end, model);
}

/** Options that say where an adapter came from, or name its layers: by full path where PEFT has suffixes, and no heads that the model has not. */
const FREE = [
  "modules_to_save",
  "auto_mapping",
  "base_model_name_or_path",
  "inference_mode",
  "target_modules",
  "exclude_modules",
  "layers_to_transform",
  "rank_pattern",
  "alpha_pattern",
];

/** Holds what is written for a delta to PEFT's own file of it. */
export async function expectSameFile(theirs: string, delta: Delta, model: Model): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "lfm-peft-"));
  try {
    await toPeft(scratch, delta, model);
    const [a, b] = [theirs, scratch].map((folder) => readSafetensors(join(folder, "adapter_model.safetensors")).tensors);
    expect(Object.keys(b!).sort()).toEqual(Object.keys(a!).sort());
    for (const [key, t] of Object.entries(a!)) expect(b![key]!.read(), key).toEqual(t.read());
    const config = (folder: string): Record<string, unknown> =>
      Object.fromEntries(Object.entries(json(join(folder, "adapter_config.json"))).filter(([key]) => !FREE.includes(key)));
    expect(config(scratch)).toEqual(config(theirs));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** What a method would learn on a model, with the values that it starts from. */
export function learnedOf<S extends z.ZodObject>(
  method: TuningMethod<S>,
  model: Model,
  options: z.input<S>,
): Readonly<Record<string, HostTensor>> {
  const context = { engine: referenceEngine(), rng: new Rng(1), access: [], log: () => {}, progress: () => {} };
  return method.start({ model, task: taskOf(model) }, parseConfig(method, options), context).learned;
}
