import { expect, it } from "vitest";
import { loadCatalog } from "./catalog.js";
import { expectedTime, measuredTimes } from "./expected-time.js";
import { planSuite } from "./plan.js";

it("sums up what cells took, takes others as the median of their task, and does not count what was never run", async () => {
  const { cells } = await planSuite({ suite: "quick" });
  const [first, second] = cells.filter((c) => c.scenario === cells[0]!.scenario);
  const task = `${first!.paradigm}/${first!.scenario}`;
  const seconds = {
    [`${task}/${first!.method}`]: 30,
    [`${task}/a`]: 50,
    [`${task}/b`]: 90,
    [`${task}/c`]: 500,
    "tuning/elsewhere/full": 9,
  };
  expect(expectedTime([first!, second!, { ...first!, scenario: "other" }], { machine: "m", seconds })).toEqual({
    minutes: (30 + 70) / 60,
    machine: "m",
    measured: 1,
    likeTheirTask: 1,
    unknown: 1,
  });
  expect(expectedTime([], { machine: "m", seconds: {} }).minutes).toBe(0);
});

it("the times that come with the package are of tasks and methods that exist", async () => {
  const { methods, scenarios } = await loadCatalog(undefined);
  for (const name of Object.keys(measuredTimes().seconds)) {
    const [paradigm, scenario, method] = name.split("/");
    expect(
      scenarios.some((s) => s.paradigm === paradigm && s.id === scenario),
      name,
    ).toBe(true);
    expect(
      methods.some((m) => m.paradigm === paradigm && m.id === method),
      name,
    ).toBe(true);
  }
});
