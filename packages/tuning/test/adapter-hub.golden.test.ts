import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compile,
  type Delta,
  type Engine,
  type HostTensor,
  loadWeight,
  type MethodContext,
  type Model,
  type ParamTree,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { readHubAdapter, readHubFusion, readHubHead, readSafetensors, readWeights } from "@lfm/formats";
import { bert, modelFromConfig } from "@lfm/models";
import { languageModelTask, tokenClassificationTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adapterFusion, bottleneck, compacter, fromAdapterFolder, toHubFolder } from "../src/index.js";
import { testContext } from "./test-context.js";

interface Golden {
  readonly model: string;
  readonly count: number;
  readonly lr?: number;
  readonly weightDecay?: number;
  readonly losses?: readonly number[];
}

const golden = join(import.meta.dirname, "golden/adapter-hub");
const out = mkdtempSync(join(tmpdir(), "lfm-hub-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(out, { recursive: true }));

const json = (...path: string[]): unknown => JSON.parse(readFileSync(join(golden, ...path), "utf8"));
const tensorsOf = (...path: string[]): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(readSafetensors(join(golden, ...path)).tensors).map(([name, t]) => [name, loadWeight(t)]));
const models = new Map<string, Model>();
function modelOf(kind: string): Model {
  const folder = join(import.meta.dirname, "../../models/test/golden", kind);
  const made =
    models.get(kind) ??
    modelFromConfig(
      JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>,
      readWeights(join(folder, "model.safetensors")).weights,
    );
  models.set(kind, made);
  return made;
}
function worst(a: HostTensor, b: HostTensor): number {
  expect(a.data.length).toBe(b.data.length);
  return Array.from(a.data, Number).reduce((m, v, i) => Math.max(m, Math.abs(v - Number(b.data[i]))), 0);
}

/** Logits of a batch as the library's models are given it. */
async function logits(model: Model, given: Readonly<Record<string, HostTensor>>): Promise<HostTensor> {
  const spec = Object.fromEntries(Object.entries(given).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const f = await compile(
    engine,
    spec,
    (b, params: ParamTree) => {
      const input = b.pixel_values
        ? { pixels: b.pixel_values }
        : { tokens: b.input_ids!, ...(b.decoder_input_ids ? { decoder: { tokens: b.decoder_input_ids } } : {}) };
      return { y: model.forward(params, input, { mode: "eval" }).logits! };
    },
    { frozen: model.params },
  );
  const { y } = await f(given);
  await f.dispose();
  return y;
}

const batchOf = (tensors: Readonly<Record<string, HostTensor>>, step: number): Record<string, HostTensor> =>
  Object.fromEntries(
    ["input_ids", "decoder_input_ids", "pixel_values"].flatMap((name) => {
      const t = tensors[`in/${step}.${name}`];
      return t ? [[name, t]] : [];
    }),
  );

/** The batches of the five steps. */
function taskOf(kind: string, tensors: Readonly<Record<string, HostTensor>>) {
  const ones = ({ shape }: HostTensor): HostTensor => ({
    dtype: "f32",
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
  });
  const tokens = (step: number): HostTensor => tensors[`in/${step}.input_ids`]!;
  return kind === "gpt2"
    ? languageModelTask("golden", (step) => ({ tokens: tokens(step), weights: ones(tokens(step)) }))
    : tokenClassificationTask("golden", (step) => ({
        tokens: tokens(step),
        mask: ones(tokens(step)),
        labels: tensors[`in/${step}.labels`]!,
      }));
}

const cases = [
  "bert-seq-bn",
  "bert-double-seq-bn",
  "bert-par-bn",
  "bert-compacter",
  "bert-norms",
  "roberta-seq-bn",
  "distilbert-double-seq-bn",
  "gpt2-seq-bn",
  "gpt2-compacter-pp",
  "llama-scaled-par-bn",
  "t5-double-seq-bn",
  "vit-adapter-plus",
];

describe.each(cases)("%s of the library adapters", (name) => {
  const { model: kind, count, losses, lr, weightDecay } = json(name, "golden.json") as Golden;
  const model = modelOf(kind);
  const tensors = tensorsOf(name, "golden.safetensors");

  it("gives the library's logits", async () => {
    const delta = fromAdapterFolder(join(golden, name), model);
    const own = Object.entries(delta.tensors).filter(([key]) => !(key in model.params));
    expect(own.reduce((n, [, t]) => n + t.data.length, 0)).toBe(count);
    const batch = batchOf(tensors, 0);
    const expected = tensors["out/logits"]!;
    expect(worst(await logits(withDeltas(model, [delta]), batch), expected)).toBeLessThan(2e-5);
  });

  it("goes back with the same options, keys and bytes", async () => {
    const folder = join(golden, name);
    await toHubFolder(join(out, name), fromAdapterFolder(folder, model), model, { name: "mood", base: kind });
    const [before, after] = [readHubAdapter(folder), readHubAdapter(join(out, name))];
    expect(after.config).toEqual(before.config);
    expect(after.tensors).toEqual(before.tensors);
    const { model_class: _, ...around } = before.around;
    expect(after.around).toMatchObject({ ...around, config: expect.anything() });
    expect(existsSync(join(out, name, "head_config.json"))).toBe(name.startsWith("roberta"));
    if (name.startsWith("roberta")) expect(readHubHead(join(out, name))).toEqual(readHubHead(folder));
  });

  it.runIf(losses)("learns step by step as there", async () => {
    const from = fromAdapterFolder(join(golden, name), model);
    const config = { ...from.config, steps: losses!.length, lr: lr!, weightDecay: weightDecay!, modelDropout: false };
    const inputs = { model, task: taskOf(kind, tensors), from };
    const { delta, curves } = await (from.method.endsWith("compacter")
      ? runMethod(compacter, inputs, config, context)
      : runMethod(bottleneck, inputs, config, context));
    for (const [i, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses![i]!), `loss of step ${i}`).toBeLessThan(1e-4);
    await toHubFolder(join(out, `${name}-end`), delta, model, { name: "mood" });
    const end = readHubAdapter(join(out, `${name}-end`)).tensors;
    for (const [key, t] of Object.entries(tensors))
      if (key.startsWith("end/")) expect(worst(end[key.slice(4)]!, t), key).toBeLessThan(1e-4);
  });
});

describe("a fusion of the library adapters", () => {
  const { model: kind, count, losses, lr, weightDecay } = json("bert-fusion", "golden.json") as Required<Golden>;
  const model = modelOf(kind);
  const tensors = tensorsOf("bert-fusion", "golden.safetensors");

  it("gives the library's logits with its members, and goes back with the same bytes", async () => {
    const delta = fromAdapterFolder(join(golden, "bert-fusion"), model);
    const learned = Object.entries(delta.tensors).filter(([key]) => !delta.frozen.has(key) && !(key in model.params));
    expect(learned.reduce((n, [, t]) => n + t.data.length, 0)).toBe(count);
    expect(worst(await logits(withDeltas(model, [delta]), batchOf(tensors, 0)), tensors["out/logits"]!)).toBeLessThan(2e-5);
    await toHubFolder(join(out, "fusion"), delta, model, { name: "part" });
    const again = fromAdapterFolder(join(out, "fusion"), model);
    expect(again.tensors).toEqual(delta.tensors);
    const fusion = readHubFusion(join(out, "fusion", "part1,part2"));
    expect(fusion.config).toEqual({ ...readHubFusion(join(golden, "bert-fusion", "mood,topic")).config, dropout_prob: 0 });
  });

  it("learns step by step as there, the distance of V from the identity in the loss", async () => {
    const from = fromAdapterFolder(join(golden, "bert-fusion"), model);
    const members: Record<string, Delta> = Object.fromEntries(
      ["mood", "topic"].map((n) => [n, fromAdapterFolder(join(golden, "bert-fusion", n), model)]),
    );
    const config = { ...from.config, steps: losses.length, lr, weightDecay, modelDropout: false };
    const start = { ...from, tensors: Object.fromEntries(Object.entries(from.tensors).filter(([key]) => !(key in model.params))) };
    const { delta, curves } = await runMethod(adapterFusion, { model, task: taskOf(kind, tensors), from: start, members }, config, context);
    for (const [i, [, loss]] of curves.loss!.entries()) expect(Math.abs(loss - losses[i]!), `loss of step ${i}`).toBeLessThan(2e-4);
    await toHubFolder(join(out, "fusion-end"), delta, model, { name: "part" });
    const end = readHubFusion(join(out, "fusion-end", "part1,part2")).tensors;
    // A bias of keys adds the same to all scores: its gradient is rounding alone, and Adam makes steps of it.
    for (const [key, t] of Object.entries(tensorsOf("bert-fusion", "end.safetensors")))
      if (!key.endsWith("key.bias")) expect(worst(end[key.replace("mood,topic", "part1,part2")]!, t), key).toBeLessThan(1e-4);
  });
});

it("counts as the library does at the size of BERT base, without any weights", async () => {
  const { "bert-base": counts } = json("counts", "golden.json") as { readonly "bert-base": Readonly<Record<string, number>> };
  const base = bert({});
  const { adapterShapes, bottleneckSites } = await import("../src/bottleneck-sites.js");
  const count = (method: typeof bottleneck | typeof compacter, preset: string | undefined): number => {
    const c = method.config.parse(preset === undefined ? {} : method.presets![preset]!.config);
    const phm = "phmDim" in c ? { phmDim: c.phmDim as number, phmRank: c.phmRank as number } : undefined;
    const one = Object.values(adapterShapes(c, 768, phm)).reduce((n, shape) => n + shape.reduce((a, b) => a * b, 1), 0);
    return bottleneckSites(base, c).length * one + (phm ? phm.phmDim ** 3 : 0);
  };
  expect({
    seq_bn: count(bottleneck, "pfeiffer"),
    double_seq_bn: count(bottleneck, "houlsby"),
    par_bn: count(bottleneck, "parallel"),
    compacter: count(compacter, undefined),
    "compacter++": count(compacter, "compacter-plus-plus"),
  }).toEqual(counts);
});
