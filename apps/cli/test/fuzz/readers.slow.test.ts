import { expect, it } from "vitest";
import { readers } from "./readers.js";
import { runFuzz } from "./run-fuzz.js";

it("ten thousand files of every kind that is read, changed in some way: an answer or what is wrong, in bounded time and memory", async () => {
  const { flaws, came } = await runFuzz(0, 600 * readers.length);
  expect(flaws).toEqual([]);
  expect(Object.values(came).reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(10_000);
});
