import { f32 } from "@lfm/core";
import { expect, it } from "vitest";
import { episodeOf, scoresOf } from "../../test/tiny-meta.js";
import { metaoptnet } from "./metaoptnet.js";

const tensors = { "head.scale": f32([1]) };
const episode = episodeOf(
  [
    [[1], 0],
    [[-1], 1],
  ],
  [[1], [-3]],
);

it("a hand-worked machine: with two points at ±1 the margin of 1 is met by w = ±½", async () => {
  const scores = await scoresOf(metaoptnet, { slack: 1, solverSteps: 400 }, episode, tensors);
  for (const [i, want] of [0.5, -0.5, -1.5, 1.5].entries()) expect(scores.flat()[i]).toBeCloseTo(want, 2);
});

it("with little slack every example weighs as much as it may: class sums", async () => {
  // α = C(1 − p) with p ≈ ½ after few steps of a problem that is decided by its linear part.
  const [scores] = await scoresOf(metaoptnet, { slack: 1e-4, solverSteps: 1 }, episode, tensors);
  expect(scores![0]).toBeCloseTo(-scores![1]!, 8);
  expect(scores![0]).toBeGreaterThan(0);
  expect(scores![0]).toBeLessThanOrEqual(2e-4);
});
