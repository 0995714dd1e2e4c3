import { Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { classTables, scoreClasses } from "./class-scores.js";
import { hasRisen } from "./has-risen.js";
import { meanError } from "./uncertain.js";
import { scoreValues } from "./value-scores.js";

describe("scores of classes", () => {
  const labels = ["a", "b", "c", "never"];
  const right = [0, 0, 0, 1, 1, 2, 2, 2, 2, 0];
  const given = [0, 1, 0, 1, 1, 2, 0, 2, 1, 0];

  it("are those of scikit-learn", () => {
    const scores = scoreClasses(labels, right, given);
    expect(scores.confusion).toEqual([
      [3, 1, 0, 0],
      [0, 2, 0, 0],
      [1, 1, 2, 0],
      [0, 0, 0, 0],
    ]);
    const by = (pick: "precision" | "recall" | "f1" | "support"): number[] => scores.classes.map((c) => c[pick]);
    expect(by("precision")).toEqual([0.75, 0.5, 1, 0]);
    expect(by("recall")).toEqual([0.75, 1, 0.5, 0]);
    expect(by("support")).toEqual([4, 2, 4, 0]);
    for (const [k, f1] of [0.75, 2 / 3, 2 / 3, 0].entries()) expect(by("f1")[k]).toBeCloseTo(f1, 12);
    // A class that neither occurs nor is given has no part in the mean.
    expect(scores.macroF1).toBeCloseTo(0.6944444444444443, 12);
    expect(scores.macroF1Error).toBeGreaterThan(0.05);
    expect(scores.macroF1Error).toBeLessThan(0.3);
    expect(scores.onlyClass).toBeUndefined();
    expect(classTables(scores).join("\n")).toMatch(/^b +0\.5000 +1\.0000 +0\.6667 +2$/m);
  });

  it("tell of a model that gives one class to all", () => {
    expect(
      scoreClasses(
        labels,
        right,
        right.map(() => 2),
      ).onlyClass,
    ).toBe("c");
    expect(scoreClasses(labels, [2, 2], [2, 2]).onlyClass).toBeUndefined();
  });
});

describe("scores of values", () => {
  it("are those of SciPy, ties sharing their rank", () => {
    const [right, given] = [
      [5, 4.75, 5, 2.4, 2.75, 2.615, 5, 2.333, 3.75],
      [4.1, 4, 3.9, 2.2, 3, 2.2, 4.4, 2.2, 3.1],
    ];
    const { scores, errors } = scoreValues(right!, given!);
    expect(scores.spearman).toBeCloseTo(0.9310344827586208, 12);
    expect(scores.pearson).toBeCloseTo(0.9657633328033615, 12);
    expect(scores.mse).toBeCloseTo(0.4063793333333333, 12);
    expect(errors.mse).toBeCloseTo(0.134055110884272, 12);
    expect(errors.pearson).toBeGreaterThan(0);
    expect(scoreValues([1, 2], [3, 3]).scores.pearson).toBe(0);
  });

  it("one value has no spread", () => {
    expect(meanError([3])).toBe(0);
  });
});

describe("a loss that has risen", () => {
  const noise = new Rng(1).normalArray(200);
  const curve = (at: (share: number) => number, spread = 0.1): number[] => Array.from(noise, (x, i) => at(i / 200) + spread * x);

  it("is told from noise", () => {
    expect(hasRisen(curve((t) => 1 + t))).toBe(true);
    expect(hasRisen([0.7, 0.7, 0.71, 0.9, 1.2, 1.9])).toBe(true);
    expect(hasRisen(curve(() => 1))).toBe(false);
    expect(hasRisen(curve((t) => 1 - t))).toBe(false);
    expect(hasRisen([0.5, 0.6])).toBe(false);
    expect(hasRisen([1])).toBe(false);
  });
});
