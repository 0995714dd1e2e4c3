import { f32 } from "@lfm/core";
import { expect, it } from "vitest";
import { episodeOf, pointEpisode, pointInputs, scoresOf, tinyContext } from "../../test/tiny-meta.js";
import { relationnet } from "./relationnet.js";

it("a hand-worked case: the network sees the sum of a class beside the query", async () => {
  const episode = episodeOf(
    [
      [[1], 0],
      [[2], 0],
      [[-1], 1],
    ],
    [[4]],
  );
  // h = relu(sum + query): 7 and 3; r = σ(.5h − 2).
  const own = { fc1: [f32([1, 1], [1, 2]), f32([0])], fc2: [f32([0.5], [1, 1]), f32([-2])] } as const;
  const tensors = Object.fromEntries(
    Object.entries(own).flatMap(([name, [weight, bias]]) => [
      [`head.relation.${name}.weight`, weight],
      [`head.relation.${name}.bias`, bias],
    ]),
  );
  const [scores] = await scoresOf(relationnet, { relationWidth: 1 }, episode, tensors);
  expect(scores![0]).toBeCloseTo(1 / (1 + Math.exp(-1.5)), 6);
  expect(scores![1]).toBeCloseTo(1 / (1 + Math.exp(0.5)), 6);
});

it("the comparing network travels with what was learned", async () => {
  const { delta, predict } = await relationnet.run(pointInputs(), relationnet.config.parse({ steps: 2, relationWidth: 3 }), tinyContext());
  expect(delta.tensors["head.relation.fc1.weight"]!.shape).toEqual([3, 6]);
  const [y] = await predict([pointEpisode(50)]);
  expect(Array.from(y!.data, Number).every((v) => v > 0 && v < 1)).toBe(true);
});
