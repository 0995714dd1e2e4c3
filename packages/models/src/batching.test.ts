import { expect, it } from "vitest";
import { batchesByLength } from "./batching.js";

it("every item once, similar lengths together, no more than asked", () => {
  const lengths = [3, 50, 2, 49, 3, 1, 51];
  const batches = batchesByLength(lengths, 3);
  expect(batches.map((b) => b.map((i) => lengths[i]))).toEqual([[51, 50, 49], [3, 3, 2], [1]]);
  expect(batches.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(batchesByLength(lengths, 8, 100).every((b) => b.length * lengths[b[0]!]! <= 100)).toBe(true);
  expect(batchesByLength([], 4)).toEqual([]);
});
