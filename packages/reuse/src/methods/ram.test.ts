import { describe, expect, it } from "vitest";
import { gaussian, mergeValues, tuned } from "../../test/merge-values.js";
import { expectMergekit, relativeError } from "../../test/mergekit-golden.js";
import { ram } from "./ram.js";

describe("ram", () => {
  // a changes entries 0 and 1, b entries 1 and 2; nobody changes 3 by more than ε.
  const [base, a, b] = [
    [1, 1, 1, 1],
    [2, 3, 1, 1],
    [1, 5, 0, 1.000001],
  ];

  it("hand-worked: unique changes whole, shared ones averaged", async () => {
    expect(Array.from(await mergeValues(ram, { base, models: [a, b] }))).toEqual([2, 4, 0, 1]);
    // ρ = 1/1, at most α = .2: λ = 1 + .1·.2
    const plus = await mergeValues(ram, { base, models: [a, b], preset: "ramplus-tl" });
    for (const [i, v] of [2.02, 4, -0.02, 1].entries()) expect(plus[i]).toBeCloseTo(v, 6);
    expect(Array.from(await mergeValues(ram, { base, models: [a, b], config: { r: 0.5, alpha: 9 } }))).toEqual([2.5, 4, -0.5, 1]);
  });

  it("one model gives itself; the order does not matter", async () => {
    const start = gaussian(1, 100);
    const models = [tuned(start, 2), tuned(start, 3), tuned(start, 4)];
    expect(relativeError(await mergeValues(ram, { base: start, models: [models[0]!] }), models[0]!)).toBeLessThan(1e-6);
    const [x, y] = [await mergeValues(ram, { base: start, models }), await mergeValues(ram, { base: start, models: models.toReversed() })];
    expect(relativeError(x, y)).toBeLessThan(1e-6);
  });

  it("equals mergekit", async () => {
    await expectMergekit(ram, "ram");
    await expectMergekit(ram, "ramplus_tl", "ramplus-tl");
  });
});
