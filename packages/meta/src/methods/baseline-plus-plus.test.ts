import { expect, it } from "vitest";
import { episodeOf, scoresOf } from "../../test/tiny-meta.js";
import { baselinePlusPlus } from "./baseline-plus-plus.js";

const episode = episodeOf(
  [
    [[3, 0], 0],
    [[0, 2], 1],
    [[1, 1], 1],
  ],
  [[3, 4]],
);

it("without a step it is cosines to the class means", async () => {
  const [scores] = await scoresOf(baselinePlusPlus, { fitSteps: 0, scale: 2 }, episode);
  expect(scores![0]).toBeCloseTo(2 * 0.6, 6);
  // (½, 3/2) and (3, 4)
  expect(scores![1]).toBeCloseTo((2 * (0.5 * 3 + 1.5 * 4)) / (5 * Math.sqrt(0.25 + 2.25)), 6);
});

it("steps on the support bring its examples nearer to their class", async () => {
  const asked = { ...episode, query: episode.support };
  const odds = async (fitSteps: number): Promise<number> => {
    const scores = await scoresOf(baselinePlusPlus, { fitSteps }, asked);
    // The example between the classes.
    return scores[2]![1]! - scores[2]![0]!;
  };
  expect(await odds(20)).toBeGreaterThan(await odds(0));
});
