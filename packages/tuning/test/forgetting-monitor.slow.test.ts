import { ortEngine } from "@lfm/core";
import { beforeAll, expect, it } from "vitest";
import { forgettingRun } from "./forgetting-run.js";

let run: Awaited<ReturnType<typeof forgettingRun>>;
beforeAll(async () => {
  run = await forgettingRun(await ortEngine({ threads: 2 }));
});

it.each([1, 2, 3, 4, 5])("warns where a language model is made to forget (seed %i)", async (seed) => {
  const { monitors, log } = await run(seed);
  expect(monitors).toMatchObject([{ id: "catastrophic-forgetting", warning: true }]);
  expect(log.filter((m) => m.startsWith("⚠"))).toHaveLength(1);
});
