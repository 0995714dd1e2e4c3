import { describe, expect, it } from "vitest";
import { sampleResult, sampleRun } from "../test/fixtures/sample-run.js";
import { statOf } from "./aggregate.js";
import { compareRuns } from "./compare.js";

const metric = (value: number | null, unit: string, higherIsBetter: boolean) => ({ m: { value, unit, higherIsBetter } });
const of = (m: ReturnType<typeof metric>) => sampleRun([sampleResult({ metrics: m, headline: "m" })]);

describe("compareRuns", () => {
  it("finds nothing between a run and itself", () => {
    const run = sampleRun([sampleResult(), sampleResult({ method: "full" })]);
    expect(compareRuns(run, run)).toMatchObject({ regressions: 0, improvements: 0, rows: Array(4).fill({ verdict: "same" }) });
  });

  it.each([
    ["fraction", true, 0.8, 0.77, -0.03],
    ["fraction", false, 0.1, 0.13, -0.03],
    ["points", true, 80, 77, -0.03],
    ["ratio", false, 100, 104, -0.04],
    ["nats", true, -2, -2.2, -0.1],
  ])("%s, higher is better %s: %d → %d is a regression", (unit, higher, before, after, gain) => {
    const worse = compareRuns(of(metric(before, unit, higher)), of(metric(after, unit, higher)));
    expect(worse).toMatchObject({
      regressions: 1,
      improvements: 0,
      rows: [{ verdict: "worse" }, { metric: "retention", verdict: "same" }],
    });
    expect(worse.rows[0]!.gain).toBeCloseTo(gain, 10);
    const better = compareRuns(of(metric(after, unit, higher)), of(metric(before, unit, higher)));
    expect(better).toMatchObject({ regressions: 0, improvements: 1 });
  });

  it("lets changes within the tolerance pass", () => {
    const [a, b] = [of(metric(0.8, "fraction", true)), of(metric(0.785, "fraction", true))];
    expect(compareRuns(a, b).regressions).toBe(0);
    expect(compareRuns(a, b, { tolerance: 0.01 }).regressions).toBe(1);
  });

  it.each([
    ["ms", false],
    ["bytes", false],
    ["MB/s", true],
  ])("does not compare %s: that depends on the machine", (unit, higher) => {
    expect(compareRuns(of(metric(100, unit, higher)), of(metric(50, unit, higher))).rows.map((r) => r.metric)).toEqual(["retention"]);
    expect(compareRuns(of(metric(50, unit, higher)), of(metric(100, unit, higher))).rows.map((r) => r.metric)).toEqual(["retention"]);
  });

  it("counts failures, vanished rows and values that could not be taken as regressions", () => {
    const run = sampleRun([sampleResult(), sampleResult({ method: "full" })]);
    const failed = sampleResult({ method: "full", status: "failed", metrics: {}, error: { code: "INTERNAL", message: "no" } });
    const verdict = (a: typeof run, b: typeof run) => {
      const { rows, regressions } = compareRuns(a, b);
      return [regressions, rows.find((r) => r.name === "tuning/facts/full")?.verdict];
    };
    expect(verdict(run, sampleRun([sampleResult(), failed]))).toEqual([1, "failed"]);
    expect(verdict(run, sampleRun([sampleResult()]))).toEqual([1, "missing"]);
    expect(verdict(sampleRun([sampleResult()]), run)).toEqual([0, "new"]);
    expect(verdict(sampleRun([sampleResult(), failed]), run)).toEqual([0, "better"]);
    expect(compareRuns(of(metric(0.5, "fraction", true)), of(metric(null, "fraction", true))).regressions).toBe(1);
  });

  it("compares means over seeds", () => {
    const run = (...accuracies: number[]) => sampleRun(accuracies.map((accuracy, seed) => sampleResult({ accuracy, seed })));
    expect(compareRuns(run(0.7, 0.9), run(0.9, 0.7)).regressions).toBe(0);
    expect(compareRuns(run(0.8, 0.8), run(0.8, 0.7)).regressions).toBe(1);
  });
});

describe("statOf", () => {
  it("gives mean and sample deviation, null where there is none", () => {
    expect(statOf([1, 2, 3, null])).toEqual({ mean: 2, sd: 1, n: 3 });
    expect(statOf([5])).toEqual({ mean: 5, sd: null, n: 1 });
    expect(statOf([null, undefined])).toEqual({ mean: null, sd: null, n: 0 });
  });
});
