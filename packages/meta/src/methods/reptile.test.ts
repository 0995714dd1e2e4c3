import { f32 } from "@lfm/core";
import { mlp } from "@lfm/models";
import { expect, it } from "vitest";
import { lineEpisodes, lineInputs, tinyContext } from "../../test/tiny-meta.js";
import { reptile } from "./reptile.js";

it("a hand-worked step: θ goes ε of the way to the mean of where its tasks lead", async () => {
  // y = w·x + b at 0: one SGD step of .125 on (x = 1, y = 4): ∇ = −8 for both, so φ = (1, 1); on (x = 1, y = −2): ∇ = 4, so φ = (−.5, −.5).
  const model = mlp(
    { input_size: 1, hidden_sizes: [], output_size: 1, task: "regressor" },
    { "fc1.weight": f32([0], [1, 1]), "fc1.bias": f32([0]) },
  );
  const episode = (y: number) => ({
    support: { x: f32([1], [1, 1]), y: f32([y], [1, 1]) },
    query: { x: f32([1], [1, 1]), y: f32([9], [1, 1]) },
  });
  const inputs = { ...lineInputs([]), model, episodes: () => [episode(4), episode(-2)] };
  const config = reptile.config.parse({
    steps: 1,
    innerSteps: 1,
    innerLr: 0.125,
    innerOptimizer: "sgd",
    learnsFrom: "support",
    metaLr: 0.5,
    schedule: "constant",
  });
  const { delta } = await reptile.run(inputs, config, tinyContext());
  for (const name of ["fc1.weight", "fc1.bias"]) expect(Number(delta.tensors[name]!.data[0])).toBeCloseTo(0.5 * 0.25, 6);
});

it("queries teach too where both are learned from", async () => {
  const run = (over: object) =>
    reptile.run(lineInputs(), reptile.config.parse({ steps: 1, innerSteps: 2, evalSteps: 2, ...over }), tinyContext());
  const [both, support] = [await run({}), await run({ learnsFrom: "support" })];
  expect(both.delta.tensors).not.toEqual(support.delta.tensors);
  expect((await both.predict(lineEpisodes(5)))[1]!.shape).toEqual([4, 1]);
});
