import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, type Engine, f32, i32, type MethodContext, ortEngine, Rng, runMethod, withDeltas } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { loadDelta, readPeftAdapter, saveDelta } from "@lfm/formats";
import { createPredictor, createPromptBox, initWeights, llama, type PromptBox } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ChoiceRows } from "../examples/choice-rows.js";
import { fromPeft, toPeft } from "../peft.js";
import { type BlackBoxTuningInputs, blackBox } from "./black-box.js";
import { prompt } from "./prompt.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-black-box-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["logits"], log: () => {}, progress: () => {} };
});
afterAll(() => rmSync(folder, { recursive: true }));

const sizes = { vocab_size: 13, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3, embeddingStd: 0.5 }));
const answers = [
  { text: "even", place: 11 },
  { text: "odd", place: 12 },
];
const choices: ChoiceRows = {
  prompts: [[1, 2], [1, 3], [4], [1, 2, 5]],
  completions: [[11], [12], [11], [12]],
  labels: Int32Array.of(0, 1, 0, 1),
  answers,
};
const options = { numVirtualTokens: 2, dimensions: 6, popsize: 5 };

describe("black-box tuning", () => {
  it("finds the prompt that scores best: known scores over a plane", async () => {
    const target = [0.7, -0.4];
    let queries = 0;
    const box: PromptBox = {
      get queries() {
        return queries;
      },
      budget: 1e6,
      offers: "logits",
      width: 2,
      vocabulary: 3,
      spread: 0.5,
      vectors: (tokens) => f32(new Float32Array(2 * tokens.length), [tokens.length, 2]),
      predict: async ({ prompt: p, sequences }) => {
        queries += sequences.length;
        const off = target.reduce((sum, t, i) => sum + (Number(p.data[i]) - t) ** 2, 0);
        return f32([-off, 0], [1, 2]);
      },
      dispose: async () => {},
    };
    const rows = { prompts: [[0]], completions: [[0]], labels: Int32Array.of(0), answers: answers.map((a, place) => ({ ...a, place })) };
    const run = (loss: "cross-entropy" | "hinge") =>
      runMethod(blackBox, { box, choices: rows }, { numVirtualTokens: 1, dimensions: 2, popsize: 8, budget: 400, loss }, context);
    const entropy = await run("cross-entropy");
    for (const [i, t] of target.entries()) expect(Number(entropy.delta.tensors.prompt_embeddings!.data[i])).toBeCloseTo(t, 2);
    // At its best both answers score 0: log 2; and the right one is 2 short of the margin.
    expect(entropy.curves.loss.at(-1)![1]).toBeCloseTo(Math.log(2), 4);
    expect((await run("hinge")).curves.loss.at(-1)![1]).toBeCloseTo(2, 4);
  });

  it("asks a real model alone, one query for each row of each prompt; what it found scores as it was told", async () => {
    const box = await createPromptBox(engine, model, { budget: 1000 });
    const { delta, queries, curves } = await runMethod(blackBox, { box, choices, parent: "p" }, { ...options, budget: 60 }, context);
    expect([queries, box.queries, curves.loss.length]).toEqual([240, 240, 60]);
    expect(curves.loss.at(-1)![1]).toBeLessThan(curves.loss[0]![1]);
    const predictor = await createPredictor(engine, withDeltas(model, [delta]), "next");
    const scores = await predictor.predict(choices.prompts);
    const loss = scores.reduce((sum, { data }, i) => {
      const [right, other] = choices.labels[i] === 0 ? [11, 12] : [12, 11];
      return sum + Math.log(1 + Math.exp(Number(data[other]) - Number(data[right]))) / 4;
    }, 0);
    await predictor.dispose();
    expect(loss).toBeCloseTo(curves.loss.at(-1)![1], 5);
    await toPeft(join(folder, "peft"), delta, model);
    expect(readPeftAdapter(join(folder, "peft")).config).toMatchObject({ peft_type: "PROMPT_TUNING", num_virtual_tokens: 2 });
    expect(fromPeft(join(folder, "peft"), model)).toMatchObject({ method: "tuning/prompt", tensors: delta.tensors });
    await box.dispose();
  });

  it("stops where the owner's budget does, and refuses a box that has none left or tells labels alone", async () => {
    const box = await createPromptBox(engine, model, { budget: 30, offers: "probabilities" });
    const { queries } = await runMethod(blackBox, { box, choices }, options, context);
    expect(queries).toBe(28);
    await expect(runMethod(blackBox, { box, choices }, options, context)).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });
    const labels = await createPromptBox(engine, model, { budget: 30, offers: "labels" });
    await expect(runMethod(blackBox, { box: labels, choices }, options, context)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
    await Promise.all([box.dispose(), labels.dispose()]);
  });

  it("is what is left where gradients are not to be had", async () => {
    const task = languageModelTask("none", () => ({ tokens: i32([1, 2], [1, 2]), weights: f32([1, 1], [1, 2]) }));
    await expect(runMethod(prompt, { model, task }, { steps: 1 }, context)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
    const box = await createPromptBox(engine, model, { budget: 4 });
    expect(Object.keys(box).sort()).toEqual([
      "budget",
      "dispose",
      "offers",
      "predict",
      "queries",
      "spread",
      "vectors",
      "vocabulary",
      "width",
    ]);
    await box.dispose();
  });

  it("keeps the contract of methods", async () => {
    const open = await createPromptBox(engine, model, { budget: 1e6 });
    const registry = createRegistry([blackBox]);
    const logits = async (delta?: Awaited<ReturnType<typeof loadDelta>>): Promise<number[]> => {
      const predictor = await createPredictor(engine, delta ? withDeltas(model, [delta]) : model, "next");
      const [next] = await predictor.predict([[1, 2, 3]]);
      await predictor.dispose();
      return Array.from(next!.data, Number);
    };
    await conformMethod(blackBox, {
      engine,
      // The meter moves, which is what it is for: it is not part of what is compared.
      inputs: (): BlackBoxTuningInputs => ({ box: Object.create(open) as PromptBox, choices }),
      config: { ...options, budget: 10 },
      observe: ({ delta, curves }) => ({ tensors: delta.tensors, curves }),
      answers: { of: ({ delta }) => logits(delta), base: () => logits() },
      reload: async (output) => {
        await saveDelta(join(folder, "delta"), output.delta);
        return { ...output, delta: await loadDelta(join(folder, "delta"), registry) };
      },
    });
    await open.dispose();
  });
});
