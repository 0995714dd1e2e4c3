import { f32, type HostTensor, referenceEngine } from "@lfm/core";
import { mlp } from "@lfm/models";
import { arrayRegression } from "@lfm/train";
import { expect, it } from "vitest";
import { metaGradient } from "../../test/meta-gradient.js";
import { lineEpisodes, lineInputs, tinyContext } from "../../test/tiny-meta.js";
import { outerLoss } from "../gradient/outer-loss.js";
import { maml } from "./maml.js";
import { byOwnRates, metaSgd } from "./meta-sgd.js";

it("a hand-worked case: the gradient of a rate is −∇L_S·∇L_Q", async () => {
  // y = w·x at w = 1: L_S = (2w − 6)², ∇ = 4(2w − 6) = −16; α = 1/8 → φ = 3; L_Q = (φ − 1)², ∇ = 4.
  const model = mlp({ input_size: 1, hidden_sizes: [], output_size: 1 }, { "fc1.weight": f32([1], [1, 1]), "fc1.bias": f32([0]) });
  const episode = { support: { x: f32([2], [1, 1]), y: f32([6], [1, 1]) }, query: { x: f32([1], [1, 1]), y: f32([1], [1, 1]) } };
  const reader = { model, task: arrayRegression("line", "features", [1], 1), norm: "none" } as const;
  const learned = { "fc1.weight": model.params["fc1.weight"] as HostTensor, "inner.rate.fc1.weight": f32([0.125], [1, 1]) };
  const { loss, grad } = await metaGradient(referenceEngine(), reader, ["fc1.weight"], learned, [episode], (groups, params) =>
    outerLoss(groups, { steps: 1, move: byOwnRates }, params, "exact"),
  );
  expect(loss).toBeCloseTo(4, 6);
  expect(grad["inner.rate.fc1.weight"]!.data[0]).toBeCloseTo(64, 4);
  // 4·(1 − αh) with h = 8
  expect(grad["fc1.weight"]!.data[0]).toBeCloseTo(0, 5);
});

it("begins as MAML does: after one outer step it has the same parameters, and rates of its own", async () => {
  const options = { steps: 1, innerSteps: 2, innerLr: 0.1 };
  const own = await metaSgd.run(lineInputs(), metaSgd.config.parse(options), tinyContext());
  const plain = await maml.run(lineInputs(), maml.config.parse({ ...options, clipNorm: 1e9 }), tinyContext());
  for (const [name, t] of Object.entries(plain.delta.tensors))
    for (const [i, v] of Array.from(t.data, Number).entries()) expect(Number(own.delta.tensors[name]!.data[i])).toBeCloseTo(v, 5);
  expect(Object.keys(own.delta.tensors).filter((n) => n.startsWith("inner.rate."))).toHaveLength(4);
  expect(own.delta.tensors["inner.rate.fc1.weight"]!.data[0]).not.toBe(Math.fround(0.1));
  expect((await own.predict(lineEpisodes(3)))[0]!.shape).toEqual([4, 1]);
});
