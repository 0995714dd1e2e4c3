import { expect, it } from "vitest";
import { readers } from "./readers.js";
import { runFuzz } from "./run-fuzz.js";

it("whatever is done to a file, its reader answers or says what is wrong, in bounded time and memory", async () => {
  const { flaws, came } = await runFuzz(0, 6 * readers.length);
  expect(flaws).toEqual([]);
  // Most changes are seen, and some are none.
  expect(came.FILE_FORMAT).toBeGreaterThan(20);
  expect(came.read).toBeGreaterThan(5);
});
