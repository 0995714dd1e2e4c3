import { expect, it } from "vitest";
import { batchesByLength, padRight } from "./batching.js";

it("every item once, similar lengths together, no more than asked", () => {
  const lengths = [3, 50, 2, 49, 3, 1, 51];
  const batches = batchesByLength(lengths, 3);
  expect(batches.flatMap((b) => b.items).sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(batches.map((b) => b.length)).toEqual([51, 3, 1]);
  for (const { items, length } of batches) for (const i of items) expect(lengths[i]).toBeLessThanOrEqual(length);
  expect(batchesByLength(lengths, 8, 100).every((b) => b.items.length * b.length <= 100)).toBe(true);
  expect(batchesByLength([], 4)).toEqual([]);
});

it("rows are padded on the right", () => {
  const { tokens, mask } = padRight([[5, 6, 7], [8]], 3);
  expect([...(tokens.data as Int32Array)]).toEqual([5, 6, 7, 8, 0, 0]);
  expect([...(mask.data as Float32Array)]).toEqual([1, 1, 1, 1, 0, 0]);
});
