import { f32 } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { expect, it } from "vitest";
import { learnedCosts } from "./meta.js";

it("what a method learned of its own, rates and heads, counts beside what it learned of the model", () => {
  const plan = mlp({ input_size: 2, hidden_sizes: [3], output_size: 1 });
  const model = { ...plan, params: initWeights(plan.info, { seed: 1 }) };
  const tensors = { "fc1.weight": f32(new Float32Array(6), [3, 2]), "inner.rate.fc1.weight": f32(new Float32Array(6), [3, 2]) };
  expect(learnedCosts(model, tensors)).toEqual({ trainableParams: 12, bytes: 48 });
});
