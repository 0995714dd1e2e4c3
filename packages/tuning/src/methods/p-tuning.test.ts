import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, f32, i32, type MethodContext, parseConfig, runMethod } from "@lfm/core";
import { readPeftAdapter } from "@lfm/formats";
import { gpt2 } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectLogits, goldenModel, goldenRun, goldenSteps, goldenTask, rowsOf, worst } from "../../test/golden-case.js";
import { testContext } from "../../test/test-context.js";
import { fromPeft, toPeft } from "../peft.js";
import { pTuning } from "./p-tuning.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-p-tuning-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each([
  ["llama", "mlp", { encoderHiddenSize: 6 }],
  ["llama", "lstm", { encoder: "lstm", encoderHiddenSize: 3 }],
  ["gpt2", "mlp", { encoderHiddenSize: 6 }],
] as const)("the small %s through %s", (kind, name, options) => {
  it("five AdamW steps as PEFT: losses, the prompt, logits; there and back as its P_TUNING files", async () => {
    const [golden, batches, model] = [goldenSteps(`${kind}-inputs`), goldenSteps(kind), goldenModel(kind)];
    const given = { model, task: goldenTask(batches) };
    const { delta, model: tuned } = await goldenRun(
      pTuning,
      given,
      golden.all(`${name}/in/`),
      { ...options, numVirtualTokens: 4 },
      golden.losses[name]!,
      context,
    );
    expect(Object.keys(delta.tensors)).toEqual(["prompt_embeddings"]);
    expect(worst(delta.tensors.prompt_embeddings!, golden.get(`${name}/out/prompt_embeddings`))).toBeLessThan(1e-4);
    await expectLogits(engine, tuned, rowsOf(batches.get("batch.0/in/tokens")), golden.get(`${name}/out/logits`), 1e-3);
    await toPeft(join(folder, `${kind}-${name}`), delta, model);
    expect(readPeftAdapter(join(folder, `${kind}-${name}`)).config).toMatchObject({
      peft_type: "P_TUNING",
      encoder_reparameterization_type: name.toUpperCase(),
    });
    const back = fromPeft(join(folder, `${kind}-${name}`), model);
    expect([back.method, back.tensors]).toEqual(["tuning/p-tuning", delta.tensors]);
  });
});

it("learns as many values as PEFT counts on GPT-2 small, and carries none of the encoder", async () => {
  const model = gpt2({ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 });
  const task = languageModelTask("none", () => ({ tokens: i32([1, 2], [1, 2]), weights: f32([1, 1], [1, 2]) }));
  const count = (options: object): number =>
    Object.values(pTuning.start({ model, task }, parseConfig(pTuning, options), context).learned).reduce((n, t) => n + t.data.length, 0);
  expect(count({})).toBe(1_787_136);
  // Embedding; of each layer and direction 4h·in + 4h·h + 8h, the second one reading 2h; 2h·2h + 2h and 2h·768 + 768.
  const h = 10;
  const layer = (width: number): number => 2 * (4 * h * width + 4 * h * h + 8 * h);
  expect(count({ encoder: "lstm", encoderHiddenSize: h })).toBe(
    20 * 768 + layer(768) + layer(2 * h) + (2 * h * 2 * h + 2 * h) + (2 * h * 768 + 768),
  );
});

it("does not go on from a prompt whose encoder is gone, and says what is missing", async () => {
  const model = goldenModel("llama");
  const task = goldenTask(goldenSteps("llama"));
  const { delta } = await runMethod(pTuning, { model, task }, { steps: 1, numVirtualTokens: 2 }, context);
  await expect(runMethod(pTuning, { model, task, from: delta }, { steps: 1, numVirtualTokens: 2 }, context)).rejects.toMatchObject({
    code: "PARENT_MISMATCH",
    message: expect.stringContaining("embedding.weight"),
  });
});
