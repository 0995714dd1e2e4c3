import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Delta,
  type Engine,
  type HostTensor,
  i32,
  joinDeltas,
  loadWeight,
  type MethodContext,
  type Model,
  padRows,
  Rng,
  referenceEngine,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, modelFromConfig } from "@lfm/models";
import { tokenCorpus } from "@lfm/statistics";
import { describe, expect, it } from "vitest";
import { type EditRequest, grace, lora, prepareEditor, tPatcher, wise } from "../src/index.js";

interface Golden {
  readonly seed: number;
  readonly layer: number;
  readonly grace: {
    readonly config: { readonly steps: number; readonly epsilon: number; readonly init: "warm" };
    readonly requests: readonly EditRequest[];
    readonly counts: { readonly answers: readonly (readonly number[])[] };
    readonly losses: readonly (readonly number[])[];
  };
  readonly wise: {
    readonly config: { readonly steps: number };
    readonly requests: readonly EditRequest[];
    readonly prefixes: readonly (readonly number[])[];
    readonly memories: readonly { readonly id: number; readonly stage: string; readonly edits: number }[];
    readonly asked: readonly (readonly number[])[];
    readonly losses: readonly (readonly number[])[];
  };
  readonly patcher: {
    readonly config: { readonly steps: number };
    readonly request: EditRequest;
    readonly texts: readonly (readonly number[])[];
    readonly losses: readonly number[];
  };
  readonly lora: { readonly config: { readonly steps: number }; readonly losses: readonly number[] };
}

// Both reckon at double precision: what is compared is the method, not how f32 rounds.
const engine: Engine = referenceEngine();

/** ‖a − b‖/‖b‖ */
function relative(a: HostTensor, b: HostTensor): number {
  expect(a.shape).toEqual(b.shape);
  let [difference, length] = [0, 0];
  for (let i = 0; i < b.data.length; i++) {
    difference += (Number(a.data[i]) - Number(b.data[i])) ** 2;
    length += Number(b.data[i]) ** 2;
  }
  return Math.sqrt(difference / length);
}

describe.each(["llama", "gpt2"])("memories beside a layer of the small %s against torch", (kind) => {
  const folder = join(import.meta.dirname, "golden", `memory-${kind}`);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const get = (name: string): HostTensor => loadWeight(tensors[name]!);
  const modelFolder = join(import.meta.dirname, "../../models/test/golden", kind);
  const model: Model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const context: MethodContext = {
    engine,
    rng: new Rng(golden.seed),
    access: ["weights", "grad", "activations"],
    log: () => {},
    progress: () => {},
  };
  const part = (delta: Delta, name: string): HostTensor => delta.tensors[Object.keys(delta.tensors).find((n) => n.endsWith(name))!]!;
  const nextOf = async (on: Model, rows: readonly (readonly number[])[], ends?: readonly number[]): Promise<readonly HostTensor[]> => {
    const named = ends ? { batch: { promptEnd: { dtype: "i32", shape: [] } } as const } : {};
    const predictor = await createPredictor(engine, on, "next", named);
    const answers = await predictor.predict(rows, undefined, ends && { promptEnd: i32(ends) });
    await predictor.dispose();
    return answers;
  };
  const rowOf = (t: HostTensor, i: number): HostTensor => {
    const width = t.shape[1]!;
    return { dtype: "f32", shape: [width], data: (t.data as Float32Array).slice(i * width, (i + 1) * width) };
  };

  it("GRACE: every loss, the codebook after twenty edits (new keys, wider balls, split balls), and what is answered with it", async () => {
    const { config, requests, losses, counts } = golden.grace;
    const editor = await prepareEditor(grace, { model }, { layer: golden.layer, ...config }, context);
    const previous: Delta[] = [];
    for (const [i, request] of requests.entries()) {
      const { delta, curves } = await editor.edit([request], previous);
      previous.push(delta);
      for (const [j, [, loss]] of curves.loss!.entries())
        expect(Math.abs(loss - losses[i]![j]!), `loss ${j} of edit ${i}`).toBeLessThan(1e-5);
    }
    const [book, ...rest] = joinDeltas(previous);
    expect(rest).toEqual([]);
    for (const name of ["keys", "values", "radii"]) expect(relative(part(book!, name), get(`grace/out/${name}`)), name).toBeLessThan(1e-5);
    const answers = part(book!, "answers");
    const width = answers.shape[1]!;
    expect(counts.answers.map((a, i) => a.map((_, j) => Number(answers.data[i * width + j])))).toEqual(counts.answers);
    const edited = withDeltas(model, [book!]);
    const prompts = requests.map((r) => r.prompt);
    const told = await nextOf(
      edited,
      prompts,
      prompts.map((p) => p.length - 1),
    );
    for (const [i, t] of told.entries()) expect(relative(t, rowOf(get("grace/out/logits"), i)), `logits ${i}`).toBeLessThan(1e-5);
    for (const [i, t] of (await nextOf(edited, prompts)).entries())
      expect(relative(t, rowOf(get("grace/out/every"), i)), `logits ${i}`).toBeLessThan(1e-5);
    await editor.dispose();
  });

  it("WISE: every loss, masks, memories, thresholds and their merge, and which of them a token takes", async () => {
    const { config, requests, prefixes, losses, memories, asked } = golden.wise;
    const editor = await prepareEditor(wise, { model, prefixes }, { layer: golden.layer, ...config }, context);
    const previous: Delta[] = [];
    for (const [i, request] of requests.entries()) {
      const { delta, curves } = await editor.edit([request], previous);
      previous.push(delta);
      for (const [j, [, loss]] of curves.loss!.entries())
        expect(Math.abs(loss - losses[i]![j]!), `loss ${j} of edit ${i}`).toBeLessThan(1e-5);
    }
    const [side, ...rest] = joinDeltas(previous);
    expect(rest).toEqual([]);
    for (const name of ["changes", "thresholds"]) expect(relative(part(side!, name), get(`wise/out/${name}`)), name).toBeLessThan(1e-5);
    const stages = ["open", "full", "merged"];
    expect(Array.from(part(side!, "states").data, Number)).toEqual(memories.flatMap((m) => [m.id, m.edits, stages.indexOf(m.stage)]));
    const predictor = await createPredictor(engine, withDeltas(model, [side!]), "logits");
    const said = await predictor.predict(asked);
    const all = said.flatMap((t) => Array.from(t.data, Number));
    const expected = get("wise/out/logits");
    expect(relative({ dtype: "f32", shape: expected.shape, data: Float32Array.from(all) }, expected)).toBeLessThan(1e-5);
    await predictor.dispose();
    await editor.dispose();
  });

  it("LoRA: every loss, and both factors of every projection", async () => {
    const { config, losses } = golden.lora;
    const { delta, curves } = await runMethod(lora, { model, requests: golden.wise.requests }, config, context);
    for (const [j, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[j]!), `loss ${j}`).toBeLessThan(1e-5);
    const expected = Object.keys(tensors).filter((name) => name.startsWith("lora/"));
    expect(Object.keys(delta.tensors).sort()).toEqual(expected.map((name) => name.slice("lora/out/".length)).sort());
    for (const [name, t] of Object.entries(delta.tensors)) expect(relative(t, get(`lora/out/${name}`)), name).toBeLessThan(1e-5);
  });

  it("T-Patcher: every loss, and the neurons", async () => {
    const { config, request, texts, losses } = golden.patcher;
    const corpus = tokenCorpus("elsewhere", padRows(texts));
    const { delta, curves } = await runMethod(tPatcher, { model, requests: [request], corpus }, config, context);
    for (const [j, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[j]!), `loss ${j}`).toBeLessThan(1e-5 * losses[j]!);
    for (const name of ["keys", "biases", "values"])
      expect(relative(part(delta, name), get(`patcher/out/${name}`)), name).toBeLessThan(1e-5);
  });
});
