import {
  type Engine,
  isLfmError,
  loadWeight,
  type MethodContext,
  type Model,
  needs,
  ortEngine,
  Rng,
  runMethod,
  type Weight,
} from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { normStatisticsOf } from "@lfm/statistics";
import { beforeAll, describe, expect, it } from "vitest";
import { answersOf, answersOnFirst, randomParams, smallModels, someInput, withParams } from "../../test/small-models.js";
import { deltaThroughBytes } from "../../test/through-bytes.js";
import { permutationSpec } from "../alignment/infer-spec.js";
import type { AlignmentInputs } from "../alignment/inputs.js";
import { permuteWeights } from "../alignment/permutation-spec.js";
import { randomPermutations } from "../alignment/random-permutations.js";
import { type ReBasinOutput, reBasin } from "./re-basin.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(3), access: needs, log: () => {}, progress: () => {} };
});

const trained = (name: string, seed: number): Model => withParams(smallModels[name]!(), randomParams(smallModels[name]!(), seed));
const shuffled = (model: Model, seed: number): Model => {
  const spec = permutationSpec(model);
  return withParams(model, permuteWeights(spec, randomPermutations(spec, new Rng(seed)), model.params));
};
const numbers = (w: Weight): number[] => Array.from(loadWeight(w).data as Float32Array);
const largest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));

it("keeps the contract of methods", async () => {
  const model = trained("mlp", 1);
  const inputs = (): AlignmentInputs => ({ models: { a: model, b: trained("mlp", 2) }, data: [1, 2].map((s) => someInput(model, s, 16)) });
  for (const config of [{}, { match: "activations" }] as const)
    await conformMethod(reBasin, {
      engine,
      inputs,
      config,
      observe: ({ delta, permutations }: ReBasinOutput) => ({ delta, permutations }),
      answers: answersOnFirst(engine),
      reload: async (out: ReBasinOutput) => ({ ...out, delta: await deltaThroughBytes(reBasin, out.delta) }),
    });
});

describe.each(["mlp", "gpt2", "llama with grouped keys, tied", "bert classifier", "vit"])("%s", (name) => {
  it("a model and its shuffled copies average to the model itself, by weights and by activations, two and three of them", async () => {
    const model = trained(name, 1);
    const data = [1, 2, 3].map((s) => someInput(model, s, 16));
    const copies = { a: model, b: shuffled(model, 5), c: shuffled(model, 6) };
    for (const [models, config] of [
      [{ a: model, b: copies.b }, {}],
      [copies, { match: "activations", similarity: "correlation" }],
    ] as const) {
      const out = await runMethod(reBasin, { models, data }, config, context);
      for (const [k, w] of Object.entries(model.params)) expect(largest(numbers(out.delta.tensors[k]!), numbers(w))).toBeLessThan(1e-6);
    }
  });

  it("alignment leaves every model's function alone", async () => {
    const models = { a: trained(name, 1), b: trained(name, 2) };
    const out = await runMethod(reBasin, { models }, {}, context);
    const input = someInput(models.a, 9);
    const aligned = withParams(models.b, out.aligned.b!);
    expect(largest(await answersOf(engine, aligned, input), await answersOf(engine, models.b, input))).toBeLessThanOrEqual(1e-5);
    expect(out.aligned.a).toEqual(models.a.params);
  });
});

it("three models: each is matched to the mean of the others until nothing is gained; the order of names does not sway what is averaged with what", async () => {
  const model = trained("mlp", 1);
  const models = { a: model, b: shuffled(model, 5), c: shuffled(model, 6) };
  const out = await runMethod(reBasin, { models }, {}, context);
  // All three are one model in some common order: their average computes what the model computes.
  const input = someInput(model, 9);
  expect(largest(await answersOf(engine, out.model, input), await answersOf(engine, model, input))).toBeLessThanOrEqual(1e-5);
});

it("weights of the average: 1, 0 gives the first, 0, 1 the second's function", async () => {
  const models = { a: trained("gpt2", 1), b: trained("gpt2", 2) };
  const input = someInput(models.a, 9);
  const first = await runMethod(reBasin, { models }, { weights: [1, 0] }, context);
  for (const [k, w] of Object.entries(models.a.params)) expect(numbers(first.delta.tensors[k]!)).toEqual(numbers(w));
  const second = await runMethod(reBasin, { models }, { weights: [0, 1] }, context);
  expect(largest(await answersOf(engine, second.model, input), await answersOf(engine, models.b, input))).toBeLessThanOrEqual(1e-5);
});

it("with data the norms of a merged convnet are measured anew; batch by batch they are what a training step sees", async () => {
  const models = { a: trained("convnet", 1), b: trained("convnet", 2) };
  const data = [1, 2].map((s) => someInput(models.a, s, 12));
  const plain = await runMethod(reBasin, { models }, {}, context);
  const measured = await runMethod(reBasin, { models, data }, {}, context);
  const statistics = normStatisticsOf(models.a);
  expect(statistics).toHaveLength(4);
  for (const [name, t] of Object.entries(measured.delta.tensors)) {
    if (statistics.includes(name)) expect(t.data).not.toEqual(plain.delta.tensors[name]!.data);
    else expect(t.data).toEqual(plain.delta.tensors[name]!.data);
  }
  // The first convolution sees the images alone: its statistics by hand.
  const weight = measured.delta.tensors["features.0.conv.weight"]!.data as Float32Array;
  const bias = measured.delta.tensors["features.0.conv.bias"]!.data as Float32Array;
  const means = data.map((batch) => {
    const x = batch.pixels!.data as Float32Array;
    let sum = 0;
    for (let n = 0; n < 12; n++)
      for (let r = 0; r < 8; r++)
        for (let c = 0; c < 8; c++)
          for (let dr = -1; dr <= 1; dr++)
            for (let dc = -1; dc <= 1; dc++)
              if (r + dr >= 0 && r + dr < 8 && c + dc >= 0 && c + dc < 8)
                sum += weight[3 * (dr + 1) + dc + 1]! * x[64 * n + 8 * (r + dr) + c + dc]!;
    return sum / (12 * 64) + bias[0]!;
  });
  expect(measured.delta.tensors["features.0.norm.running_mean"]!.data[0]).toBeCloseTo((means[0]! + means[1]!) / 2, 5);
});

it("more restarts never match worse", async () => {
  const models = { a: trained("mlp", 1), b: trained("mlp", 2) };
  const distance = async (restarts: number): Promise<number> => {
    const out = await runMethod(reBasin, { models }, { restarts }, context);
    return Object.entries(out.aligned.b!).reduce(
      (sum, [k, w]) => sum + numbers(w).reduce((s, v, i) => s + (v - numbers(models.a.params[k]!)[i]!) ** 2, 0),
      0,
    );
  };
  expect(await distance(6)).toBeLessThanOrEqual((await distance(1)) + 1e-9);
});

it("refuses one model, models built apart, and activations without data", async () => {
  const error = async (inputs: AlignmentInputs, config: object = {}): Promise<unknown> =>
    runMethod(reBasin, inputs, config, context).catch((e: unknown) => e);
  const a = trained("mlp", 1);
  expect(isLfmError(await error({ models: { a } }), "CONFIG_INVALID")).toBe(true);
  expect(isLfmError(await error({ models: { a, b: trained("gpt2", 1) } }), "SHAPE_MISMATCH")).toBe(true);
  expect(isLfmError(await error({ models: { a, b: a } }, { match: "activations" }), "CAPABILITY_MISSING")).toBe(true);
  expect(isLfmError(await error({ models: { a, b: a } }, { weights: [1, -1] }), "CONFIG_INVALID")).toBe(true);
});
