import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Engine,
  type HostTensor,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  parseConfig,
  plainWeights,
  Rng,
  runMethod,
  sizeOf,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, modelFromConfig } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import { bottleneck, initLora, lora, prompt, type TuningMethod, type TuningOutput, targetSites } from "../src/index.js";
import { testContext } from "./test-context.js";

interface Golden {
  readonly steps: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly lora: { readonly r: number; readonly loraAlpha: number };
  readonly losses: Readonly<Record<string, readonly number[]>>;
}

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});

const worst = (a: HostTensor, b: HostTensor): number => {
  expect(a.data.length).toBe(b.data.length);
  let m = 0;
  for (let i = 0; i < a.data.length; i++) m = Math.max(m, Math.abs(Number(a.data[i]) - Number(b.data[i])));
  return m;
};

describe.each(["llama", "gpt2"])("five AdamW steps on the small %s", (kind) => {
  const folder = join(import.meta.dirname, "golden", kind);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const get = (name: string): HostTensor => loadWeight(tensors[name]!);
  const all = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(Object.keys(tensors).flatMap((name) => (name.startsWith(prefix) ? [[name.slice(prefix.length), get(name)]] : [])));
  const modelFolder = join(import.meta.dirname, "../../models/test/golden", kind);
  const model: Model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const task = languageModelTask("golden", (step) => ({
    tokens: get(`batch.${step}/in/tokens`),
    weights: get(`batch.${step}/in/weights`),
  }));
  const training = { steps: golden.steps, lr: golden.lr, weightDecay: golden.weightDecay, modelDropout: false };
  /** The method's own run, on from the tensors that the reference started with. */
  const train = <S extends z.ZodObject>(name: string, method: TuningMethod<S>, options: z.input<S>): Promise<TuningOutput> => {
    const from = makeDelta(method, parseConfig(method, options), all(`${name}/in/`));
    return runMethod(method, { model, task, from }, options, context);
  };
  const expectSame = (name: string, { delta, curves }: TuningOutput): void => {
    for (const [i, [, loss]] of curves.loss!.entries())
      expect(Math.abs(loss - golden.losses[name]![i]!), `loss of step ${i}`).toBeLessThan(1e-4);
    const end = all(`${name}/out/`);
    expect(Object.keys(delta.tensors).filter((k) => !(k in end))).toEqual([]);
    for (const [k, t] of Object.entries(delta.tensors)) expect(worst(t, end[k]!), k).toBeLessThan(1e-4);
  };

  it.each([
    ["lora", false],
    ["rslora", true],
  ])("%s as PEFT: losses, A and B, the merged model's logits; its names and shapes", async (name, useRslora) => {
    const output = await train(name, lora, { ...training, ...golden.lora, useRslora });
    expectSame(name, output);
    const fresh = initLora(targetSites(model, ["all-linear"]), golden.lora.r, new Rng(0));
    expect(Object.fromEntries(Object.entries(fresh).map(([k, t]) => [k, t.shape]))).toEqual(
      Object.fromEntries(Object.entries(all(`${name}/in/`)).map(([k, t]) => [k, t.shape])),
    );
    const tokens = get("batch.0/in/tokens");
    const rows = Array.from({ length: tokens.shape[0]! }, (_, b) =>
      Array.from((tokens.data as Int32Array).subarray(b * tokens.shape[1]!, (b + 1) * tokens.shape[1]!)),
    );
    const expected = get(`${name}/out/merged_logits`);
    for (const m of [output.model, { ...model, params: { ...model.params, ...(await plainWeights(engine, model, [output.delta])) } }]) {
      const predictor = await createPredictor(engine, m, "logits");
      const logits = await predictor.predict(rows);
      await predictor.dispose();
      const width = sizeOf(expected.shape.slice(1));
      logits.forEach((row, b) => {
        const own = { ...expected, data: (expected.data as Float32Array).subarray(b * width, (b + 1) * width) };
        expect(worst(row, own)).toBeLessThan(1e-3);
      });
    }
  });

  it("prompt tuning as PEFT", async () => {
    expectSame("prompt", await train("prompt", prompt, { ...training, numVirtualTokens: 4 }));
  });

  it("bottleneck adapters as torch hooks", async () => {
    expectSame("bottleneck", await train("bottleneck", bottleneck, { ...training, activation: "silu", reductionFactor: 6.4 }));
  });
});
