import { ortEngine } from "@lfm/core";
import { beforeAll, expect, it } from "vitest";
import { forgettingRuns } from "./forgetting-runs.js";

let run: Awaited<ReturnType<typeof forgettingRuns>>;
beforeAll(async () => {
  run = await forgettingRuns(await ortEngine({ threads: 2 }));
});

it.each([1, 2, 3, 4, 5])("warns where a language model is made to forget (seed %i)", async (seed) => {
  const { monitors, log } = await run("forgets", seed);
  expect(monitors).toMatchObject([{ id: "catastrophic-forgetting", warning: true }]);
  expect(log.filter((m) => m.startsWith("⚠"))).toHaveLength(1);
});

it.each([1, 2, 3, 4, 5])("is silent where one learns with the old beside the new (seed %i)", async (seed) => {
  const { monitors, log, curves } = await run("healthy", seed);
  expect(monitors).toMatchObject([{ warning: false }]);
  expect(log).toEqual([]);
  expect(curves.loss!.at(-1)![1]).toBeLessThan(curves.loss![0]![1] - 3);
});
