import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, type Delta, type Engine, type MethodContext, type Model, runMethod, withDeltas } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import type { Examples } from "@lfm/data";
import { loadDelta, saveDelta } from "@lfm/formats";
import { createGenerator, createPredictor, initWeights, llama, textRules } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testContext } from "../../test/test-context.js";
import { tokenizerOf } from "../../test/word-tokenizer.js";
import { around, type InContextInputs, inContext } from "./in-context.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-in-context-"));
let engine: Engine;
let context: MethodContext;
const said: string[] = [];
beforeAll(async () => {
  context = await testContext({ access: ["logits", "tokenizer"], log: (m) => said.push(m) });
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

const words = ["<pad>", "</s>", "good", "bad", "say", "of", "a", "b", "c", ":", ";", "N/A", "now"];
const tokenizer = tokenizerOf(words);
const sizes = {
  vocab_size: words.length,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 32,
};
const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3, embeddingStd: 0.8 }));
const text = textRules(tokenizer, { limits: model.info });
const demonstrations: Examples = {
  kind: "completion",
  rows: [
    { prompt: "say a :", completion: "good" },
    { prompt: "say b :", completion: "good" },
    { prompt: "say c :", completion: "bad" },
  ],
};
const given: InContextInputs = { model, demonstrations, text };
const options = { separator: " ; ", contentFree: ["N/A", "now"] };
const idsOf = (s: string): readonly number[] => tokenizer.encode(s).ids;

async function next(m: Model, question: readonly number[]): Promise<number[]> {
  const predictor = await createPredictor(engine, m, "next");
  const [found] = await predictor.predict([question]);
  await predictor.dispose();
  return Array.from(found!.data, Number);
}
const frontOf = (delta: Delta): string => tokenizer.decode(Array.from(delta.tensors.prompt_tokens!.data, Number));

describe("examples in front", () => {
  it("answer as the same examples written into the prompt, and generate as they do", async () => {
    const { delta, model: shown } = await runMethod(
      inContext,
      given,
      { ...options, shots: 2, instruction: "now", calibrate: false },
      context,
    );
    expect(Object.keys(delta.tensors)).toEqual(["prompt_tokens"]);
    const front = frontOf(delta);
    // One of each answer, behind the instruction.
    expect(front).toMatch(/^now ; say . : (good|bad) ; say . : (good|bad) ;$/);
    expect(["good", "bad"].every((answer) => front.includes(answer))).toBe(true);
    const question = idsOf("say b :");
    const whole = [...idsOf(front), ...question];
    const [a, b] = [await next(shown, question), await next(model, whole)];
    for (const [i, v] of a.entries()) expect(v).toBeCloseTo(b[i]!, 4);
    const [generator, plain] = [await createGenerator(engine, shown), await createGenerator(engine, model)];
    const continued = await generator.generate(question, { maxNewTokens: 4 });
    expect(continued.tokens).toEqual((await plain.generate(whole, { maxNewTokens: 4 })).tokens);
    await Promise.all([generator.dispose(), plain.dispose()]);
  });

  it("are as many as fit, said so; none is refused", async () => {
    said.length = 0;
    const { delta } = await runMethod(inContext, given, { ...options, maxTokens: 11, calibrate: false }, context);
    expect(delta.tensors.prompt_tokens!.data.length).toBe(10);
    expect(said.join()).toContain("2 examples in front, 10 tokens (3 do not fit into 11)");
    await expect(runMethod(inContext, given, { ...options, maxTokens: 4 }, context)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const texts: Examples = { kind: "text", rows: [{ text: "a" }] };
    await expect(runMethod(inContext, { ...given, demonstrations: texts }, options, context)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});

describe("contextual calibration", () => {
  it("by hand: each answer's score less log p̂, what it gets where nothing is asked; other tokens are left alone", async () => {
    const { delta, model: fair } = await runMethod(inContext, given, { ...options, shots: 2 }, context);
    const front = idsOf(frontOf(delta));
    const shares = await Promise.all(
      ["N/A", "now"].map(async (nothing) => {
        const scores = await next(model, [...front, ...idsOf(`say ${nothing} :`)]);
        const [good, bad] = [Math.exp(scores[2]!), Math.exp(scores[3]!)];
        return good / (good + bad);
      }),
    );
    const p = (shares[0]! + shares[1]!) / 2;
    const question = idsOf("say a :");
    const [plain, calibrated] = [await next(model, [...front, ...question]), await next(fair, question)];
    // softmax of log p − log p̂ is p/p̂, normed: the odds of good to bad are divided by p̂/(1 − p̂).
    const odds = (scores: readonly number[]): number => scores[2]! - scores[3]!;
    expect(odds(calibrated)).toBeCloseTo(odds(plain) - Math.log(p / (1 - p)), 4);
    for (const id of [0, 1, 4, 12]) expect(calibrated[id]! - plain[id]!).toBeCloseTo(0, 4);
    // Both together keep their place among the others: log p̂ is shifted by its mean.
    expect(calibrated[2]! + calibrated[3]!).toBeCloseTo(plain[2]! + plain[3]!, 4);
  });

  it("makes a question without content even", async () => {
    const { model: fair } = await runMethod(inContext, given, { ...options, contentFree: ["N/A"] }, context);
    const scores = await next(fair, idsOf("say N/A :"));
    expect(scores[2]).toBeCloseTo(scores[3]!, 4);
  });

  it("finds what all prompts have around their content", () => {
    expect(around(["Review: it is fine\nMood:", "Review: no\nMood:"])).toEqual(["Review: ", "\nMood:"]);
    expect(around(["a", "b"])).toEqual(["", ""]);
    expect(around(["x y", "x y"])).toEqual(["x y", ""]);
  });
});

it("keeps the contract of methods", async () => {
  const registry = createRegistry([inContext]);
  await conformMethod(inContext, {
    engine,
    inputs: () => given,
    config: options,
    instant: true,
    observe: ({ delta }) => delta.tensors,
    answers: { of: (output) => next(output.model, idsOf("say a :")), base: () => next(model, idsOf("say a :")) },
    reload: async (output) => {
      await saveDelta(join(folder, "delta"), output.delta);
      const delta = await loadDelta(join(folder, "delta"), registry);
      return { ...output, delta, model: withDeltas(model, [delta]) };
    },
  });
});
