import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, type Engine, f32, i32, type MethodContext, makeDelta, parseConfig, Rng, runMethod, withDeltas } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { loadDelta, saveDelta } from "@lfm/formats";
import { createGenerator, createPredictor, gemma2, initWeights, llama } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { worst } from "../../test/golden-case.js";
import { testContext } from "../../test/test-context.js";
import { autoprompt, pointedTo } from "./autoprompt.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-autoprompt-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

const sizes = { vocab_size: 11, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3, embeddingStd: 0.8 }));
const scaled = { ...sizes, num_key_value_heads: 1, head_dim: 4 };
const rows = [
  [1, 2, 7],
  [3, 2, 7],
];
const task = languageModelTask(
  "what comes after 2",
  () => ({ tokens: i32(rows.flat(), [2, 3]), weights: f32([0, 0, 1, 0, 0, 1], [2, 3]) }),
  1,
);

/** Mean −log p of 7 behind words and the rows' first two tokens. */
async function lossBehind(words: readonly number[]): Promise<number> {
  const predictor = await createPredictor(engine, model, "next");
  const found = await predictor.predict(rows.map((row) => [...words, ...row.slice(0, 2)]));
  await predictor.dispose();
  return (
    found.reduce((sum, { data }) => {
      const logits = Array.from(data, Number);
      return sum + Math.log(logits.reduce((s, v) => s + Math.exp(v), 0)) - logits[7]!;
    }, 0) / found.length
  );
}

describe("words in front", () => {
  it.each([
    ["llama", model],
    ["gemma2, which scales its embeddings", gemma2(scaled, initWeights(gemma2(scaled).info, { seed: 5 }))],
  ])("are the same as the words of the text itself: %s", async (_name, base) => {
    const delta = makeDelta(autoprompt, parseConfig(autoprompt, {}), { prompt_tokens: i32([5, 9]) });
    const [behind, plain] = [await createPredictor(engine, withDeltas(base, [delta]), "next"), await createPredictor(engine, base, "next")];
    const [[a], [b]] = [await behind.predict([[1, 2, 3]]), await plain.predict([[5, 9, 1, 2, 3]])];
    expect(worst(a!, b!)).toBeLessThan(1e-5);
    await Promise.all([behind.dispose(), plain.dispose()]);
    const [generator, whole] = [await createGenerator(engine, withDeltas(base, [delta])), await createGenerator(engine, base)];
    const [{ tokens }, expected] = [
      await generator.generate([1, 2, 3], { maxNewTokens: 5 }),
      await whole.generate([5, 9, 1, 2, 3], { maxNewTokens: 5 }),
    ];
    expect(tokens).toEqual(expected.tokens);
    await Promise.all([generator.dispose(), whole.dispose()]);
  });

  it("tried all, one place at a time, the search ends where no exchange of one word helps", async () => {
    const options = { numTriggerTokens: 2, iterations: 12, candidates: 11, accumulate: 1 };
    const { delta, curves } = await runMethod(autoprompt, { model, task }, options, context);
    const found = Array.from(delta.tensors.prompt_tokens!.data, Number);
    const loss = await lossBehind(found);
    expect(loss).toBeCloseTo(curves.loss!.at(-1)![1], 5);
    const losses = curves.loss!.map(([, v]) => v);
    expect(losses.every((v, i) => i === 0 || v <= losses[i - 1]!)).toBe(true);
    for (let place = 0; place < 2; place++)
      for (let word = 0; word < 11; word++)
        expect(await lossBehind(found.map((id, i) => (i === place ? word : id)))).toBeGreaterThan(loss - 1e-6);
  });

  it("the one word that the gradient points to is better than the one that was there, over seeds", async () => {
    const options = { numTriggerTokens: 2, iterations: 4, candidates: 1, accumulate: 1 };
    let gained = 0;
    for (const seed of [1, 2, 3]) {
      const { curves, delta } = await runMethod(autoprompt, { model, task }, options, { ...context, rng: new Rng(seed) });
      const rng = new Rng(seed).split("search");
      gained += (await lossBehind([rng.int(11), rng.int(11)])) - curves.loss!.at(-1)![1];
      expect(delta.tensors.prompt_tokens!.data.length).toBe(2);
    }
    expect(gained / 3).toBeGreaterThan(0.1);
  });

  it("HotFlip by hand: −e·g of three words", () => {
    const vectors = [Float32Array.of(1, 0), Float32Array.of(0, 1), Float32Array.of(-1, 0)];
    expect(pointedTo(Float64Array.of(1, 0.5), { row: (id) => vectors[id]! }, [0, 1, 2], 2)).toEqual([2, 1]);
  });

  it("keeps the best words by validation, and reads the one not without the other", async () => {
    const set = { model, task, validation: { task } };
    const options = { numTriggerTokens: 1, iterations: 3, candidates: 11, accumulate: 1 };
    const { delta, curves } = await runMethod(autoprompt, set, { ...options, validEvery: 1 }, context);
    expect(await lossBehind(Array.from(delta.tensors.prompt_tokens!.data, Number))).toBeCloseTo(curves.loss!.at(-1)![1], 5);
    await expect(runMethod(autoprompt, set, options, context)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

it("keeps the contract of methods", async () => {
  const registry = createRegistry([autoprompt]);
  await conformMethod(autoprompt, {
    engine,
    inputs: () => ({ model, task }),
    config: { numTriggerTokens: 2, iterations: 2, candidates: 3, accumulate: 1 },
    observe: ({ delta, curves }) => ({ tensors: delta.tensors, curves }),
    answers: {
      of: async (output) => {
        const predictor = await createPredictor(engine, output.model, "next");
        const found = await predictor.predict([[1, 2, 3]]);
        await predictor.dispose();
        return found;
      },
      base: async () => {
        const predictor = await createPredictor(engine, model, "next");
        const found = await predictor.predict([[1, 2, 3]]);
        await predictor.dispose();
        return found;
      },
    },
    reload: async (output) => {
      await saveDelta(join(folder, "delta"), output.delta);
      const delta = await loadDelta(join(folder, "delta"), registry);
      return { ...output, delta, model: withDeltas(model, [delta]) };
    },
  });
});
