import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Engine,
  f32,
  type HostTensor,
  loadWeight,
  type MethodContext,
  type Model,
  ortEngine,
  plainWeights,
  Rng,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, modelFromConfig } from "@lfm/models";
import { tokenCorpus } from "@lfm/statistics";
import { beforeAll, describe, expect, it } from "vitest";
import { ftL, keyCovariance, mlpOutSite, rome, rRome } from "../src/index.js";

interface Golden {
  readonly layer: number;
  readonly request: { prompt: number[]; subjectEnd: number; target: number[]; start: number; essence: number[] };
  readonly prefixes: number[][];
  readonly rome: { config: Record<string, number>; losses: number[] };
  readonly "ft-l": { config: Record<string, number>; losses: number[] };
}

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "grad", "activations"], log: () => {}, progress: () => {} };
});

const worst = (a: HostTensor, b: HostTensor): number => {
  expect(a.shape).toEqual(b.shape);
  let m = 0;
  for (let i = 0; i < a.data.length; i++) m = Math.max(m, Math.abs(Number(a.data[i]) - Number(b.data[i])));
  return m;
};
const size = (t: HostTensor): number => (t.data as Float32Array).reduce((m, v) => Math.max(m, Math.abs(v)), 0);

describe.each(["llama", "gpt2"])("edits of the small %s against torch", (kind) => {
  const folder = join(import.meta.dirname, "golden", kind);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const get = (name: string): HostTensor => loadWeight(tensors[name]!);
  const modelFolder = join(import.meta.dirname, "../../models/test/golden", kind);
  const model: Model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const site = mlpOutSite(model, golden.layer);
  const mask = get("rome/in/corpus_mask");
  const texts = { tokens: get("rome/in/corpus"), mask: f32(Float32Array.from(mask.data as Int32Array), mask.shape) };
  const corpus = tokenCorpus("corpus", texts);
  const inputs = { model, requests: [golden.request], prefixes: golden.prefixes, corpus };

  it("the covariance of keys", async () => {
    const c = await keyCovariance(engine, model, site, { corpus }, context);
    const expected = get("rome/out/covariance");
    expect(worst(f32(Float32Array.from(c), expected.shape), expected)).toBeLessThan(1e-5 * size(expected));
  });

  it.each([rome, rRome])("$id: every loss, the edited weight and the answer", async (method) => {
    const { config, losses } = golden.rome;
    const { delta, model: edited, curves } = await runMethod(method, inputs, { layer: golden.layer, stopLoss: 0, ...config }, context);
    expect(curves.loss!.length).toBe(losses.length);
    for (const [i, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[i]!), `loss ${i}`).toBeLessThan(1e-4);
    const weight = (await plainWeights(engine, model, [delta]))[site.weight!.name]!;
    expect(worst(weight, get(`${method.id}/out/weight`))).toBeLessThan(1e-4 * size(get(`${method.id}/out/weight`)));
    const logits = get(`${method.id}/out/logits`);
    for (const m of [edited, { ...model, params: { ...model.params, [site.weight!.name]: weight } }]) {
      const predictor = await createPredictor(engine, m, "logits");
      const [got] = await predictor.predict([golden.request.prompt]);
      expect(worst({ ...got!, shape: logits.shape }, logits)).toBeLessThan(1e-3);
      await predictor.dispose();
    }
    expect(Object.values(delta.tensors).reduce((n, t) => n + t.data.length, 0)).toBe(site.weight!.in + site.weight!.out);
  });

  it("FT-L: every loss and the edited weight, no entry further than ε", async () => {
    const { config, losses } = golden["ft-l"];
    const { delta, curves } = await runMethod(ftL, inputs, { layer: golden.layer, ...config }, context);
    for (const [i, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[i]!), `loss ${i}`).toBeLessThan(1e-4);
    const weight = delta.tensors[site.weight!.name]!;
    expect(worst(weight, get("ft-l/out/weight"))).toBeLessThan(1e-5);
    const before = loadWeight(model.params[site.weight!.name]!);
    expect(worst(weight, before)).toBeLessThan(config.epsilon! * (1 + 1e-3));
    expect(worst(weight, before)).toBeGreaterThan(config.epsilon! * 0.99);
  });

  it("a second edit sees the first; dropping both gives the base back bit for bit", async () => {
    const config = { layer: golden.layer, ...golden.rome.config, clamp: 100, klFactor: 0, weightDecay: 0 };
    const answer = async (m: Model, prompt: readonly number[]): Promise<Float32Array> => {
      const predictor = await createPredictor(engine, m, "next");
      const [out] = await predictor.predict([prompt]);
      await predictor.dispose();
      return out!.data as Float32Array;
    };
    const before = await answer(model, golden.request.prompt);
    const first = await runMethod(rome, inputs, config, context);
    const request = { ...golden.request, prompt: [5, 60, 33, 7, 41], essence: [5, 33], target: [80] };
    const second = await runMethod(rome, { ...inputs, requests: [request], previous: [first.delta] }, config, context);
    const stacked = withDeltas(model, [first.delta, second.delta]);
    const [nested, flat] = [await answer(second.model, request.prompt), await answer(stacked, request.prompt)];
    for (const [i, v] of nested.entries()) expect(Math.abs(v - flat[i]!)).toBeLessThan(1e-4);
    const weight = site.weight!;
    const merged = await plainWeights(engine, model, [first.delta, second.delta]);
    const plain = await answer({ ...model, params: { ...model.params, [weight.name]: merged[weight.name]! } }, request.prompt);
    for (const [i, v] of plain.entries()) expect(Math.abs(v - flat[i]!)).toBeLessThan(1e-3);
    expect(await answer(model, golden.request.prompt)).toEqual(before);
  });
});
