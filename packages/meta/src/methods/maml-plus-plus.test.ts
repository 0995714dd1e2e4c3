import { compile, referenceEngine, type Tensor } from "@lfm/core";
import { expect, it } from "vitest";
import { lineEpisodes, lineInputs, tinyContext } from "../../test/tiny-meta.js";
import { maml } from "./maml.js";
import { mamlPlusPlus, multiStepWeights } from "./maml-plus-plus.js";

it("weights of the losses: equal at first, on the last in the end, always 1 together", async () => {
  const f = await compile(referenceEngine(), { step: { dtype: "f32", shape: [] } }, ({ step }) => {
    const weights = multiStepWeights(4, 50, step);
    return Object.fromEntries([1, 2, 3, 4].map((k) => [`w${k}`, weights(k) as Tensor]));
  });
  const at = async (step: number): Promise<number[]> => {
    const found = await f({ step: { dtype: "f32", shape: [], data: Float32Array.of(step) } });
    return Object.values(found).map((t) => Number(t.data[0]));
  };
  expect(await at(1)).toEqual([0.25, 0.25, 0.25, 0.25]);
  const [first, , , last] = await at(11);
  expect(first).toBeCloseTo(0.25 - 10 * (0.25 / 50), 6);
  expect(last).toBeCloseTo(0.25 + 3 * 10 * (0.25 / 50), 6);
  const end = await at(1000);
  expect(end[0]).toBeCloseTo(0.0075, 6);
  for (const step of [1, 20, 1000]) expect((await at(step)).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
});

it("begins as MAML does where the last loss alone counts; steps beyond those of training take the last rate", async () => {
  const options = { steps: 1, innerSteps: 2, innerLr: 0.1 };
  const own = await mamlPlusPlus.run(lineInputs(), mamlPlusPlus.config.parse({ ...options, multiStepFor: 0 }), tinyContext());
  const plain = await maml.run(lineInputs(), maml.config.parse(options), tinyContext());
  for (const [name, t] of Object.entries(plain.delta.tensors))
    for (const [i, v] of Array.from(t.data, Number).entries()) expect(Number(own.delta.tensors[name]!.data[i])).toBeCloseTo(v, 5);
  expect(own.delta.tensors["inner.rate.fc1.weight"]!.shape).toEqual([2]);
  expect((await own.predict(lineEpisodes(3)))[0]!.data.every(Number.isFinite)).toBe(true);
  const spread = await mamlPlusPlus.run(lineInputs(), mamlPlusPlus.config.parse(options), tinyContext());
  expect(spread.curves.loss![0]![1]).not.toBe(own.curves.loss![0]![1]);
});
