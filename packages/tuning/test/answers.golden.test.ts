import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, type HostTensor, loadWeight, type MethodContext, makeDelta, parseConfig, runMethod, withDeltas } from "@lfm/core";
import { readPeftAdapter, readSafetensors } from "@lfm/formats";
import { createGenerator, loadModel } from "@lfm/models";
import { answersOfLabels, languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AnyTuningMethod, fromPeft, ia3, lora, prompt, toPeft } from "../src/index.js";
import { worst } from "./golden-case.js";
import { testContext } from "./test-context.js";

interface Golden {
  readonly steps: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly lora: { readonly r: number; readonly loraAlpha: number };
  readonly virtualTokens: number;
  readonly maxNewTokens: number;
  readonly losses: Readonly<Record<string, readonly number[]>>;
}

let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
});
const scratch = mkdtempSync(join(tmpdir(), "lfm-answers-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const values = (t: HostTensor): number[] => Array.from(t.data, Number);
/** The first vectors of a prompt: PEFT keeps as many again for the decoder, which nothing reads. */
const firstHalf = (t: HostTensor): HostTensor => {
  const [rows, width] = t.shape as readonly [number, number];
  return f32(values(t).slice(0, (rows / 2) * width), [rows / 2, width]);
};

describe.each(["t5", "t5-gated"])("%s learns as by PEFT (SEQ_2_SEQ_LM)", (kind) => {
  const folder = join(import.meta.dirname, "golden", kind);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const get = (name: string): HostTensor => loadWeight(tensors[name]!);
  const opened = loadModel(join(import.meta.dirname, "../../models/test/golden", kind));
  const task = languageModelTask(
    "golden",
    (step) => ({
      ...answersOfLabels(get(`batch.${step}/in/labels`), { start: 0 }),
      source: get(`batch.${step}/in/input_ids`),
      sourceMask: f32(values(get(`batch.${step}/in/attention_mask`)), [3, 9]),
    }),
    undefined,
    { answers: true },
  );
  const methods: readonly (readonly [string, AnyTuningMethod, object])[] = [
    ["lora", lora, { ...golden.lora, targetModules: ["q", "v"] }],
    ["ia3", ia3, { targetModules: ["k", "v"], feedforwardModules: ["wo"] }],
    ["prompt", prompt, { numVirtualTokens: golden.virtualTokens }],
  ];

  it.each(methods)("%s: five AdamW steps", async (name, method, own) => {
    const { model } = await opened;
    const options = { ...own, steps: golden.steps, lr: golden.lr, weightDecay: golden.weightDecay, modelDropout: false };
    const all = (role: string): Record<string, HostTensor> =>
      Object.fromEntries(
        Object.keys(tensors).flatMap((key) => {
          const prefix = `${name}/${role}/`;
          if (!key.startsWith(prefix) || key.endsWith("/answer")) return [];
          return [[key.slice(prefix.length), name === "prompt" ? firstHalf(get(key)) : get(key)]];
        }),
      );
    const from = makeDelta(method, parseConfig(method, options), all("in"));
    const { delta, curves } = await runMethod(method, { model, task, from }, options, context);
    const losses = curves.loss!.map(([, loss]: readonly [number, number]) => loss);
    expect(Math.max(...golden.losses[name]!.map((loss, i) => Math.abs(loss - losses[i]!)))).toBeLessThan(1e-4);
    const end = all("out");
    expect(Object.keys(delta.tensors).sort()).toEqual(Object.keys(end).sort());
    for (const [key, t] of Object.entries(delta.tensors)) expect(worst(t, end[key]!), key).toBeLessThan(1e-4);
  });

  it.each(methods)("%s: PEFT's folder answers as with PEFT, and is written as it was", async (name) => {
    const { model } = await opened;
    const delta = fromPeft(join(folder, name), model);
    const generator = await createGenerator(context.engine, withDeltas(model, [delta]));
    const mask = values(get("batch.0/in/attention_mask"));
    const ids = values(get("batch.0/in/input_ids"));
    const sources = [0, 1, 2].map((b) => ids.slice(b * 9, (b + 1) * 9).filter((_, j) => mask[b * 9 + j] === 1));
    const found = await generator.generateBatch(sources, { maxNewTokens: golden.maxNewTokens });
    await generator.dispose();
    expect(found.flatMap((g) => g.tokens)).toEqual(values(get(`${name}/out/answer`)));
    const out = join(scratch, `${kind}-${name}`);
    await toPeft(out, delta, model, { base: kind });
    const [theirs, ours] = [readPeftAdapter(join(folder, name)), readPeftAdapter(out)];
    expect(ours.config).toMatchObject({ peft_type: theirs.config.peft_type, task_type: "SEQ_2_SEQ_LM" });
    expect(Object.keys(ours.tensors).sort()).toEqual(Object.keys(theirs.tensors).sort());
    for (const [key, t] of Object.entries(theirs.tensors))
      expect(worst(ours.tensors[key]!, name === "prompt" ? firstHalf(t) : t), key).toBe(0);
  });
});
