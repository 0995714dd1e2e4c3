import { expect, it } from "vitest";
import { episodeOf, pointEpisode, pointInputs, scoresOf, tinyContext } from "../../test/tiny-meta.js";
import { matchingnet } from "./matchingnet.js";

it("a hand-worked case: labels weighted by the softmax of cosines", async () => {
  const episode = episodeOf(
    [
      [[3, 0], 0],
      [[0, 2], 1],
      [[-1, 0], 1],
    ],
    [[5, 0]],
  );
  // Cosines 1, 0, −1.
  const total = Math.E + 1 + 1 / Math.E;
  const [scores] = await scoresOf(matchingnet, {}, episode);
  expect(Math.exp(scores![0]!)).toBeCloseTo(Math.E / total, 6);
  expect(Math.exp(scores![1]!)).toBeCloseTo((1 + 1 / Math.E) / total, 6);
});

it("learns the embedding and leaves the last layer alone", async () => {
  const inputs = { ...pointInputs(), episodes: () => [pointEpisode(1)] };
  const { delta, curves } = await matchingnet.run(inputs, matchingnet.config.parse({ steps: 15, lr: 0.05 }), tinyContext());
  expect(Object.keys(delta.tensors)).toEqual(["fc1.weight", "fc1.bias"]);
  expect(curves.loss!.at(-1)![1]).toBeLessThan(0.9 * curves.loss![0]![1]);
});
