import { type Engine, f32, i32, type MethodContext, type Model, plainWeights, runMethod, withDeltas } from "@lfm/core";
import { initWeights, llama, mlp } from "@lfm/models";
import { arrayRegression, languageModelTask, withBatches } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { logitsOf } from "../../test/peft-steps.js";
import { testContext } from "../../test/test-context.js";
import { full } from "./full.js";
import { linearProbe } from "./linear-probe.js";
import { lpFt } from "./lp-ft.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});

/** Two layers of one unit: y = u·relu(w·x). */
const net = mlp({ input_size: 1, hidden_sizes: [1], output_size: 1 });
const small: Model = {
  ...net,
  params: { "fc1.weight": f32([1], [1, 1]), "fc1.bias": f32([0]), "fc2.weight": f32([0], [1, 1]), "fc2.bias": f32([0]) },
};
const task = withBatches(arrayRegression("values", "features", [1], 1), () => ({ x: f32([2], [1, 1]), y: f32([3], [1, 1]) }));
const sgd = { optimizer: "sgd", lr: 0.1 } as const;
const sizes = { vocab_size: 11, hidden_size: 4, intermediate_size: 6, num_hidden_layers: 1, num_attention_heads: 2 };
const count = languageModelTask("count", () => ({ tokens: i32([1, 2, 3, 4], [1, 4]), weights: f32([1, 1, 1, 1], [1, 4]) }));

describe("a linear probe", () => {
  it("moves the output layer as by hand, and nothing below it", async () => {
    const { delta } = await runMethod(linearProbe, { model: small, task }, { steps: 1, ...sgd }, context);
    expect(Object.keys(delta.tensors).sort()).toEqual(["fc2.bias", "fc2.weight"]);
    // h = 2, y = 0: ∂L/∂u = 2(0 − 3)·2 = −12, ∂L/∂b = −6.
    expect(Number(delta.tensors["fc2.weight"]!.data[0])).toBeCloseTo(1.2, 6);
    expect(Number(delta.tensors["fc2.bias"]!.data[0])).toBeCloseTo(0.6, 6);
  });

  it("gives an output layer that is the embedding a matrix of its own: the embedding stays", async () => {
    const config = { ...sizes, tie_word_embeddings: true };
    const model = llama(config, initWeights(llama(config).info, { seed: 1 }));
    const { delta, curves } = await runMethod(linearProbe, { model, task: count }, { steps: 5, lr: 0.1 }, context);
    expect(Object.keys(delta.tensors)).toEqual(["lm_head.weight"]);
    const losses = curves.loss!.map(([, v]) => v);
    expect(losses.at(-1)!).toBeLessThan(losses[0]!);
    const tokens = i32([1, 2, 3], [1, 3]);
    expect(await logitsOf(engine, withDeltas(model, [delta]), tokens)).not.toEqual(await logitsOf(engine, model, tokens));
    await expect(plainWeights(engine, model, [delta])).rejects.toThrow(/share the weight/);
  });
});

describe("LP-FT", () => {
  it("is a probe, then full fine-tuning with an optimizer that starts anew, as by hand", async () => {
    const options = { probeSteps: 1, probeLr: 0.1, steps: 1, ...sgd };
    const { delta, curves } = await runMethod(lpFt, { model: small, task }, options, context);
    expect(curves.loss!.map(([step]) => step)).toEqual([0, 1]);
    // After the probe y = 1.2·2 + 0.6 = 3: the head fits, and nothing is left that could distort what it reads.
    expect(curves.loss!.map(([, v]) => v)[1]).toBeCloseTo(0, 10);
    expect(Number(delta.tensors["fc1.weight"]!.data[0])).toBeCloseTo(1, 6);
    expect(Object.keys(delta.tensors).sort()).toEqual(["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
    // From a head that is half right everything moves: y = 1.5, ∂L/∂w = 2(1.5 − 3)·u·x = −3·0.6·2.
    const half = await runMethod(lpFt, { model: small, task }, { ...options, probeLr: 0.05 }, context);
    expect(Number(half.delta.tensors["fc1.weight"]!.data[0])).toBeCloseTo(1 + 0.1 * 3.6, 5);
  });

  it("is not disturbed by Adam's moments of the probe: the second phase alone gives the same", async () => {
    const model = llama(sizes, initWeights(llama(sizes).info, { seed: 1 }));
    const probe = await runMethod(linearProbe, { model, task: count }, { steps: 3, lr: 0.05 }, context);
    const whole = await runMethod(lpFt, { model, task: count }, { probeSteps: 3, probeLr: 0.05, steps: 2, lr: 0.01 }, context);
    const first = whole.curves.loss!.slice(0, 3).map(([, v]) => v);
    expect(first).toEqual(probe.curves.loss!.map(([, v]) => v));
    expect(whole.curves.loss!.length).toBe(5);
    const second = await runMethod(
      full,
      { model: { ...model, params: { ...model.params, ...probe.delta.tensors } }, task: count },
      { steps: 2, lr: 0.01 },
      context,
    );
    for (const [name, t] of Object.entries(second.delta.tensors))
      for (const [i, v] of t.data.entries()) expect(Number(whole.delta.tensors[name]!.data[i])).toBeCloseTo(Number(v), 5);
  });
});
