import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  compile,
  type Engine,
  f32,
  type HostTensor,
  loadWeight,
  type MethodContext,
  ortEngine,
  type ParamTree,
  plainWeights,
  Rng,
  referenceEngine,
  runMethod,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { modelFromConfig } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import {
  compileLens,
  compileTracer,
  type EditCase,
  type EditRequest,
  mend,
  type TrainedEditor,
  tracedParts,
  trainMend,
} from "../src/index.js";
import { answerLoss, editBatch, editBatchSpec, promptRows } from "../src/inputs.js";
import { gradientFactors } from "../src/learned/factors.js";
import { mendSites, mendUpdates } from "../src/learned/mend-network.js";

type Grid = readonly (readonly number[])[];
interface Golden {
  readonly case: { request: EditRequest; paraphrase: Pick<EditRequest, "prompt" | "target">; unrelated: number[][] };
  readonly mend: { rate: number; editFactor: number; loss: number; answer: number; drift: number };
  readonly trace: {
    prompt: number[];
    subject: [number, number];
    answer: number;
    clean: number;
    corrupted: number;
    window: number;
  } & Record<"state" | "mlp" | "attention", Grid>;
}

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "grad", "activations"], log: () => {}, progress: () => {} };
});

describe.each(["llama", "gpt2"])("learned editing of the small %s against torch", (kind) => {
  const folder = join(import.meta.dirname, "golden", `learned-${kind}`);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  const tensors = Object.fromEntries(
    Object.entries(readSafetensors(join(folder, "golden.safetensors")).tensors).map(([k, t]) => [k, loadWeight(t)]),
  );
  const under = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(Object.entries(tensors).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])));
  const modelFolder = join(import.meta.dirname, "../../models/test/golden", kind);
  const model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const editor: TrainedEditor = { method: "mend", config: { blocks: 2 }, parent: "golden", tensors: under("mend/in/") };
  const { request } = golden.case;

  it("MEND: the update of every layer", async () => {
    const { delta } = await runMethod(mend, { model, requests: [request], editor, parent: "golden" }, {}, context);
    const sites = mendSites(model, 2);
    expect(Object.keys(under("mend/out/")).sort()).toEqual(sites.map((s) => s.weight!.name).sort());
    for (const { path, weight } of sites) {
      const expected = tensors[`mend/out/${weight!.name}`]!;
      const [keys, values] = [delta.tensors[`${path}.edit.keys`]!, delta.tensors[`${path}.edit.values`]!];
      const [rows, width, out] = [keys.shape[0]!, weight!.in, weight!.out];
      const found = f32(new Float32Array(width * out), expected.shape);
      for (let i = 0; i < width; i++)
        for (let o = 0; o < out; o++) {
          const at = weight!.layout === "out-in" ? o * width + i : i * out + o;
          for (let r = 0; r < rows; r++)
            found.data[at] = Number(found.data[at]) + Number(keys.data[r * width + i]) * Number(values.data[r * out + o]);
        }
      expect(distance(found, expected), path).toBeLessThan(1e-5 * norm(expected));
    }
    // And as the model has it.
    const edited = await plainWeights(engine, model, [delta]);
    for (const [name, change] of Object.entries(under("mend/out/"))) {
      const before = loadWeight(model.params[name]!).data as Float32Array;
      for (const [i, w] of (edited[name]!.data as Float32Array).entries()) expect(w).toBeCloseTo(before[i]! + Number(change.data[i]), 5);
    }
  });

  it("MEND: what it has seen of rows, one after the other as all at once", async () => {
    const sites = mendSites(model, 2);
    const see = await compile(
      engine,
      editBatchSpec,
      ({ tokens, mask, labels }, frozen: ParamTree) => {
        const { factors } = gradientFactors(model, frozen, { tokens, mask }, sites, (logits) => answerLoss(logits, labels));
        return mendUpdates(sites, frozen, factors, true).statistics;
      },
      { frozen: { ...model.params, ...editor.tensors } },
    );
    const found = await see({ ...editBatch(promptRows(request, [[]])) });
    const expected = under("mend/seen/");
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, t] of Object.entries(expected)) expect(distance(found[name]!, t), name).toBeLessThan(1e-5 * norm(t));
    await see.dispose();
  });

  it("MEND: the loss that training goes down, from the identity on", async () => {
    const own: EditCase = {
      subject: "a",
      relation: "r",
      request,
      paraphrases: [golden.case.paraphrase],
      unrelated: golden.case.unrelated,
    };
    const other: EditCase = { ...own, subject: "b", relation: "s" };
    const { rate, editFactor, ...expected } = golden.mend;
    const config = { blocks: 2, rank: 4, steps: 1, edits: 1, paraphrases: 1, unrelated: 2, editRate: rate, editFactor, heldOut: 0.5 };
    const { curves } = await runMethod(trainMend, { model, cases: [own, other] }, config, {
      ...context,
      engine: referenceEngine(),
      rng: new Rng(SPLIT_SEED),
    });
    for (const [name, value] of Object.entries(expected)) expect(Math.abs(curves[name]![0]![1] / value - 1), name).toBeLessThan(1e-5);
  });

  it("causal tracing: every probability", async () => {
    const { prompt, subject, window, ...expected } = golden.trace;
    const tracer = await compileTracer(engine, model);
    // In several runs, the last of them smaller.
    const found = await tracer.trace({ prompt, subject }, { noise: tensors["trace/in/noise"]!, window, rows: 13 }, context);
    await tracer.dispose();
    expect(found.answer).toBe(expected.answer);
    expect(found.clean).toBeCloseTo(expected.clean, 6);
    expect(found.corrupted).toBeCloseTo(expected.corrupted, 6);
    for (const part of tracedParts)
      for (const [token, row] of expected[part].entries())
        for (const [block, p] of row.entries())
          expect(found.restored[part]![token]![block]!, `${part} ${token} ${block}`).toBeCloseTo(p, 6);
  });

  it("logit lens: the probabilities behind every block", async () => {
    const logits = tensors["lens/out/logits"]!;
    const [blocks, length, vocabulary] = logits.shape as readonly [number, number, number];
    const lens = await compileLens(engine, model, 5);
    const found = await lens.read(golden.trace.prompt);
    await lens.dispose();
    expect(found.map((row) => row.length)).toEqual(Array.from({ length: blocks }, () => length));
    for (const [block, row] of found.entries())
      for (const [token, named] of row.entries()) {
        const at = (block * length + token) * vocabulary;
        const p = softmax(Array.from(logits.data.slice(at, at + vocabulary), Number));
        const best = [...p].sort((a, b) => b - a).slice(0, 5);
        for (const [i, { token: id, probability }] of named.entries()) {
          // The logits of the small GPT-2 are large: f32 knows them to a millionth, and probabilities to five digits.
          expect(probability).toBeCloseTo(best[i]!, 5);
          expect(probability).toBeCloseTo(p[id]!, 5);
        }
      }
  });
});

/** With it the first of two cases is learned from, and the second held out. */
const SPLIT_SEED = 1;

function norm({ data }: HostTensor): number {
  return Math.hypot(...Array.from(data, Number));
}

function distance(a: HostTensor, b: HostTensor): number {
  expect(a.shape).toEqual(b.shape);
  const other = Array.from(b.data, Number);
  return Math.hypot(...Array.from(a.data, Number).map((v, i) => v - other[i]!));
}

function softmax(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const exps = logits.map((v) => Math.exp(v - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((v) => v / sum);
}
