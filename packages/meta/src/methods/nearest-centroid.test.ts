import { expect, it } from "vitest";
import { episodeOf, scoresOf } from "../../test/tiny-meta.js";
import { nearestCentroid } from "./nearest-centroid.js";

const episode = episodeOf(
  [
    [[2, 0], 0],
    [[4, 0], 0],
    [[0, 1], 1],
  ],
  [[6, 8]],
);

it("a hand-worked case: distances to the class means, of features as they are and of length 1", async () => {
  // Means (3, 0) and (0, 1): 9 + 64 and 36 + 49.
  expect(await scoresOf(nearestCentroid, { unit: false }, episode)).toEqual([[-73, -85]]);
  // (.6, .8) to (1, 0) and (0, 1).
  const [[first, second]] = (await scoresOf(nearestCentroid, {}, episode)) as [[number, number]];
  expect(first).toBeCloseTo(-0.8, 6);
  expect(second).toBeCloseTo(-0.4, 6);
});
