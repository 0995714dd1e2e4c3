import { f32, i32, runMethod } from "@lfm/core";
import { arrayClassificationTask, arrayRegression, withBatches } from "@lfm/train";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range, trainLinear } from "../../test/linear-models.js";
import { overfit, unaware } from "../../test/overfit.js";
import { lossMembership } from "./loss.js";

it("finds members of a model that overfits, and says by how much it does", async () => {
  const { findings } = await runMethod(lossMembership, overfit, {}, context);
  expect(findings.measured.accuracyGap!).toBeGreaterThan(0.15);
  expect(findings.risks.auc!.low).toBeGreaterThan(0.55);
  expect(findings.queries).toBe(640);
  expect(findings.warnings!.join()).toContain("too few for the rate at 0.1 %");
});

it("by hand: scores are −ln p of the right class, in f64 where p is all but 1", async () => {
  const victim = linearModel([[40], [0]]);
  const of = (x: readonly number[]) =>
    arrayClassificationTask("by hand", "features", [1], () => ({ x: f32(x, [x.length, 1]), labels: i32(x.map(() => 0)) }), 1);
  const { findings } = await runMethod(lossMembership, { victim, members: of([1]), nonMembers: of([0, -1]) }, {}, context);
  // ln(1 + e⁻⁴⁰) = 4.2e-18: f32 would say 0.
  expect(findings.scores!.members[0]).toBeCloseTo(-4.248354255291589e-18, 30);
  expect(findings.scores!.nonMembers[0]).toBeCloseTo(-Math.LN2, 6);
  expect(findings.scores!.nonMembers[1]).toBeCloseTo(-40, 5);
  expect(findings.risks.auc).toMatchObject({ value: 1 });
});

it("tells nothing of data that neither side was trained on", async () => {
  const { findings } = await runMethod(lossMembership, unaware, {}, context);
  expect(Math.abs(findings.risks.auc!.value - 0.5)).toBeLessThan(0.05);
  // What is on both sides cannot be told apart at all.
  const same = await runMethod(lossMembership, { ...overfit, nonMembers: overfit.members }, {}, context);
  expect(same.findings.risks.auc!.value).toBe(0.5);
  expect(same.findings.warnings!.join()).toContain("little to tell them by");
});

it("attacks what was there before the adaptation too, where it is given", async () => {
  const points = drawPoints(200, 8);
  const inputs = { ...overfit, members: asExamples(points, range(0, 100)), nonMembers: asExamples(points, range(100, 200)) };
  const [victim, before] = [trainLinear(points, range(0, 100)), trainLinear(drawPoints(100, 9), range(0, 100))];
  const out = await runMethod(lossMembership, { ...inputs, victim, before }, {}, context);
  expect(out.findings.risks.auc!.low).toBeGreaterThan(0.55);
  expect(Math.abs(out.before!.risks.auc!.value - 0.5)).toBeLessThan(0.1);
});

it("refuses examples that are answered with values, and examples without an end", async () => {
  const values = withBatches(
    arrayRegression("values", "features", [120], 2),
    () => ({ x: f32(new Float32Array(120), [1, 120]), y: f32([0, 0], [1, 2]) }),
    1,
  );
  await expect(runMethod(lossMembership, { ...overfit, members: values }, {}, context)).rejects.toMatchObject({
    code: "CAPABILITY_MISSING",
  });
  const { perEpoch: _, ...endless } = overfit.members;
  await expect(runMethod(lossMembership, { ...overfit, members: endless }, {}, context)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});
