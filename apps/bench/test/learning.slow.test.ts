import { expect, it } from "vitest";
import { meanOf, suiteCells } from "./suite-cells.js";

const seeds = [1, 2, 3];

it("distillation: taught on the same images, the student knows more than on labels alone; without any, at least 80 % of its teacher", async () => {
  const cells = await suiteCells("quick", "distillation", "glyphs", seeds);
  const kd = cells["logit-kd"]!;
  expect(meanOf(kd, "studentAccuracy")).toBeGreaterThan(meanOf(kd, "labelsOnlyAccuracy") + 0.02);
  for (const outcome of kd) expect(outcome.dataUsed).toBe(100);
  const free = cells.dafl!;
  expect(meanOf(free, "shareOfTeacher")).toBeGreaterThan(0.8);
  for (const outcome of free) {
    expect(outcome.dataUsed).toBe(0);
    expect(outcome.monitors).toMatchObject([{ id: "mode-collapse", warning: false }]);
  }
});

it("meta: on sine curves MAML of either order is at .35 of a jointly trained net's error or below", async () => {
  const cells = await suiteCells("quick", "meta", "sinusoid", seeds);
  for (const method of ["maml", "fomaml"]) expect(meanOf(cells[method], "ratio"), method).toBeLessThanOrEqual(0.35);
});

it("meta: on glyphs never seen both methods are far above what pixels give", async () => {
  const cells = await suiteCells("quick", "meta", "glyphs-few-shot", seeds);
  for (const method of ["protonet", "maml"]) {
    expect(meanOf(cells[method], "accuracy1Shot"), method).toBeGreaterThan(meanOf(cells[method], "pixels1Shot") + 0.05);
    expect(meanOf(cells[method], "accuracy5Shot"), method).toBeGreaterThan(meanOf(cells[method], "pixels5Shot") + 0.05);
  }
});
