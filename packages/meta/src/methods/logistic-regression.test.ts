import { expect, it } from "vitest";
import { episodeOf, scoresOf } from "../../test/tiny-meta.js";
import { logisticRegression } from "./logistic-regression.js";

const episode = episodeOf(
  [
    [[2, 0], 0],
    [[0, 5], 1],
  ],
  [
    [1, 0],
    [0, 1],
    [1, 1],
  ],
);

it("a symmetric case: the classes change places with their examples, and what lies between is undecided", async () => {
  const [first, second, between] = await scoresOf(logisticRegression, {}, episode);
  expect(first![0]! - first![1]!).toBeGreaterThan(1);
  expect(first![0]! - first![1]!).toBeCloseTo(second![1]! - second![0]!, 5);
  expect(between![0]).toBeCloseTo(between![1]!, 5);
});

it("at the minimum the penalty's pull is the error's: for margin m, λm/2 = 1/(1 + eᵐ)", async () => {
  // Class vectors are ±v with v along e₁ − e₂: a margin of m on both points.
  const penalty = 0.2;
  const [first] = await scoresOf(logisticRegression, { penalty, solverSteps: 300 }, episode);
  const margin = first![0]! - first![1]!;
  expect(penalty * margin).toBeCloseTo(1 / (1 + Math.exp(margin)), 4);
});
