import { f32, type HostTensor, referenceEngine } from "@lfm/core";
import { mlp } from "@lfm/models";
import { arrayRegression } from "@lfm/train";
import { expect, it } from "vitest";
import { metaGradient } from "../../test/meta-gradient.js";
import { lineEpisodes, lineInputs, tinyContext } from "../../test/tiny-meta.js";
import { imaml, implicitLoss, loopOf } from "./imaml.js";

it("is the closed form on a quadratic: (1 + h/λ)⁻¹ times the queries' gradient at the minimum", async () => {
  // y = w·x: L_S = (2w − 6)², so h = 8 and φ* = (8·3 + λθ)/(8 + λ); L_Q = (φ − 1)².
  const theta = 0.5;
  const model = mlp({ input_size: 1, hidden_sizes: [], output_size: 1 }, { "fc1.weight": f32([theta], [1, 1]), "fc1.bias": f32([0]) });
  const episode = { support: { x: f32([2], [1, 1]), y: f32([6], [1, 1]) }, query: { x: f32([1], [1, 1]), y: f32([1], [1, 1]) } };
  const reader = { model, task: arrayRegression("quadratic", "features", [1], 1), norm: "none" } as const;
  const params = { "fc1.weight": model.params["fc1.weight"] as HostTensor };
  const gradientAt = async (lr: number, pull: number, steps: number): Promise<{ loss: number; slope: number }> => {
    const loop = loopOf(lr, pull, steps);
    const { loss, grad } = await metaGradient(
      referenceEngine({ unrounded: true }),
      reader,
      ["fc1.weight"],
      params,
      [episode],
      (groups, learned) => implicitLoss(groups, loop, learned, pull, 2),
    );
    return { loss, slope: grad["fc1.weight"]!.data[0]! };
  };
  const found = (8 * 3 + 2 * theta) / (8 + 2);
  const { loss, slope } = await gradientAt(0.0625, 2, 60);
  expect(loss).toBeCloseTo((found - 1) ** 2, 8);
  expect(slope).toBeCloseTo((2 * (found - 1)) / (1 + 8 / 2), 8);
  // Held without end φ stays at θ: what is left is joint training.
  expect((await gradientAt(1e-9, 1e9, 3)).slope).toBeCloseTo(2 * (theta - 1), 5);
});

it("answers from where the pull lets its steps go: without steps as the start does", async () => {
  const inputs = lineInputs();
  const run = (evalSteps: number) => imaml.run(inputs, imaml.config.parse({ steps: 1, innerSteps: 1, evalSteps }), tinyContext());
  const episodes = lineEpisodes(9);
  const [still, moved] = [await (await run(0)).predict(episodes), await (await run(3)).predict(episodes)];
  expect(moved).not.toEqual(still);
  // Same start, other supports: without steps a query is answered alike.
  const swapped = episodes.map(({ query }, i) => ({ query, support: episodes[1 - i]!.support }));
  expect(await (await run(0)).predict(swapped)).toEqual(still);
});
