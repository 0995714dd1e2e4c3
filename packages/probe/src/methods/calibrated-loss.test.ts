import { runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range } from "../../test/linear-models.js";
import { outsiders, overfit, unaware } from "../../test/overfit.js";
import { calibratedLoss } from "./calibrated-loss.js";
import { lossMembership } from "./loss.js";

it("finds more members than loss alone: examples differ in how hard they are", async () => {
  const plain = await runMethod(lossMembership, overfit, {}, context);
  const calibrated = await runMethod(calibratedLoss, { ...overfit, references: outsiders(8) }, {}, context);
  expect(calibrated.findings.risks.auc!.value).toBeGreaterThan(plain.findings.risks.auc!.value);
  expect(calibrated.findings.queries).toBe(640);
});

it("by hand: the mean loss of those that did not learn from it, less its own", async () => {
  const points = { x: [Float64Array.of(1), Float64Array.of(1)], labels: [0, 0] };
  const sides = { members: asExamples(points, [0]), nonMembers: asExamples(points, [1]) };
  const loss = (w: number): number => Math.log1p(Math.exp(-w));
  const of = (w: number, member: boolean) => ({
    model: linearModel([[w], [0]]),
    saw: { members: [member], nonMembers: [false] },
  });
  const references = [of(1, false), of(3, false), of(5, true)];
  const { findings } = await runMethod(calibratedLoss, { ...sides, victim: linearModel([[2], [0]]), references }, {}, context);
  expect(findings.scores!.members[0]).toBeCloseTo((loss(1) + loss(3)) / 2 - loss(2), 6);
  expect(findings.scores!.nonMembers[0]).toBeCloseTo((loss(1) + loss(3) + loss(5)) / 3 - loss(2), 6);
});

it("tells nothing of data that neither side was trained on; a reference that saw all is no reference", async () => {
  const none = await runMethod(calibratedLoss, { ...unaware, references: outsiders(2) }, {}, context);
  expect(Math.abs(none.findings.risks.auc!.value - 0.5)).toBeLessThan(0.05);
  const points = drawPoints(2, 1, 120);
  const saw = { members: [true], nonMembers: [true] };
  const sides = { members: asExamples(points, range(0, 1)), nonMembers: asExamples(points, range(1, 2)) };
  const all = { ...overfit, ...sides, references: [{ model: overfit.victim, saw }] };
  await expect(runMethod(calibratedLoss, all, {}, context)).rejects.toThrow("every reference model learned from example 1");
  await expect(runMethod(calibratedLoss, { ...all, references: [] }, {}, context)).rejects.toThrow("needs a reference model");
});
