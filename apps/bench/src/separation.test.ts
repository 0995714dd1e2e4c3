import { describe, expect, it } from "vitest";
import { sampleResult, sampleRun } from "../test/fixtures/sample-run.js";
import { groupCells, type ReportRow } from "./aggregate.js";
import { differs, unseparated } from "./separation.js";

/** Rows of one task: accuracies over seeds 1, 2, … by method. */
function rowsOf(
  accuracies: Readonly<Record<string, readonly number[]>>,
  firstSeed: Readonly<Record<string, number>> = {},
): readonly ReportRow[] {
  return groupCells(
    sampleRun(
      Object.entries(accuracies).flatMap(([method, values]) =>
        values.map((accuracy, i) => sampleResult({ method, accuracy, seed: (firstSeed[method] ?? 1) + i })),
      ),
    ),
  );
}
const pair = (a: readonly number[], b: readonly number[], seedOfB = 1): boolean | undefined => {
  const [x, y] = rowsOf({ a, b }, { b: seedOfB });
  return differs(x!, y!);
};

describe("two methods differ", () => {
  it("by their differences seed by seed, where they have the same seeds", () => {
    // Apart by .02 in every seed, while seeds differ by .2: t = .02 / (.002 / √3) = 17.3 > 4.303.
    expect(pair([0.5, 0.6, 0.7], [0.482, 0.58, 0.678])).toBe(true);
    // The same numbers in other seeds: Welch's interval is as wide as the seeds are apart.
    expect(pair([0.5, 0.6, 0.7], [0.482, 0.58, 0.678], 11)).toBe(false);
    // Differences .01, .02, .06: mean .03, standard error .0153, t = 1.96 < 4.303.
    expect(pair([0.5, 0.6, 0.7], [0.49, 0.58, 0.64])).toBe(false);
  });

  it("by Welch's interval over other seeds", () => {
    // Variances .0001 and .0004 over 3: standard error .0129, 2.94 degrees of freedom, rounded down to 2: .0555.
    expect(pair([0.79, 0.8, 0.81], [0.72, 0.74, 0.76], 11)).toBe(true);
    expect(pair([0.79, 0.8, 0.81], [0.73, 0.75, 0.77], 11)).toBe(false);
  });

  it("not at all with two seeds, and always where nothing varies", () => {
    expect(pair([0.9, 0.9], [0.1, 0.1])).toBeUndefined();
    expect(pair([0.9, 0.9, 0.9], [0.8, 0.8, 0.8])).toBe(true);
    expect(pair([1, 1, 1], [1, 1, 1])).toBe(false);
  });
});

describe("a task does not separate", () => {
  it("when more than half of its methods are above 99 %", () => {
    const high = unseparated(rowsOf({ a: [1, 1], b: [0.995, 0.999], c: [0.4, 0.5] }));
    expect([high?.why, high?.rows.map((r) => r.method), high?.of]).toEqual(["ceiling", ["a", "b"], 3]);
    expect(unseparated(rowsOf({ a: [1, 1], b: [0.8, 0.81], c: [0.4, 0.5] }))).toBeUndefined();
  });

  it("when more than half are within one standard error of each other", () => {
    // sd .02 over 2 seeds each: the difference has a standard error of .02.
    const spread = (m: number): readonly number[] => [m - 0.01 * Math.SQRT2, m + 0.01 * Math.SQRT2];
    const near = unseparated(rowsOf({ a: spread(0.8), b: spread(0.79), c: spread(0.785), d: spread(0.6), e: spread(0.5) }));
    expect([near?.why, near?.rows.map((r) => r.method)]).toEqual(["standard error", ["a", "b", "c"]]);
    // A chain is no cluster: a and c are .03 apart.
    expect(unseparated(rowsOf({ a: spread(0.8), b: spread(0.785), c: spread(0.77), d: spread(0.6) }))).toBeUndefined();
  });

  it("in a metric without a ceiling only by the error, and not with one method", () => {
    const nats = (method: string, value: number) =>
      sampleResult({ method, headline: "loss", metrics: { loss: { value, unit: "nats", higherIsBetter: true } } });
    expect(unseparated(groupCells(sampleRun([nats("a", 500), nats("b", 300)])))).toBeUndefined();
    expect(unseparated(rowsOf({ a: [1, 1] }))).toBeUndefined();
  });
});
