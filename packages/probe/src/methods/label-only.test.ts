import { f32, i32, runMethod } from "@lfm/core";
import { arrayClassificationTask, arrayRegression, withBatches } from "@lfm/train";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range, trainLinear } from "../../test/linear-models.js";
import { labelOnly } from "./label-only.js";

const points = drawPoints(120, 5);
const inputs = {
  victim: trainLinear(points, range(0, 60)),
  members: asExamples(points, range(0, 60)),
  nonMembers: asExamples(points, range(60, 120)),
};

it("what stays right under noise tells more than what is right; every row is counted", async () => {
  const gap = (await runMethod(labelOnly, inputs, {}, context, "gap")).findings;
  const noisy = (await runMethod(labelOnly, inputs, { copies: 8, noise: 0.15 }, context)).findings;
  expect(gap.risks.auc!.value).toBeCloseTo(0.5 + gap.measured.accuracyGap! / 2, 12);
  expect(noisy.risks.auc!.value).toBeGreaterThan(gap.risks.auc!.value);
  expect([gap.queries, noisy.queries]).toEqual([120, 120 * 9]);
});

it("by hand: a point far from the boundary keeps its label, one on the wrong side has none", async () => {
  const of = (x: number) => arrayClassificationTask("one", "features", [1], () => ({ x: f32([x], [1, 1]), labels: i32([0]) }), 1);
  const sides = { victim: linearModel([[1], [0]]), members: of(100), nonMembers: of(-100) };
  const { findings } = await runMethod(labelOnly, sides, { copies: 3 }, context);
  expect(findings.scores).toEqual({ members: [1], nonMembers: [0] });
});

it("obeys its budget before it asks, and attacks classes alone", async () => {
  await expect(runMethod(labelOnly, inputs, { copies: 8, budget: 500 }, context)).rejects.toMatchObject({
    code: "BUDGET_EXCEEDED",
    hint: expect.stringContaining("3 fit"),
  });
  const values = withBatches(
    arrayRegression("values", "features", [60], 1),
    () => ({ x: f32(new Float32Array(60), [1, 60]), y: f32([0], [1, 1]) }),
    1,
  );
  await expect(runMethod(labelOnly, { ...inputs, members: values }, {}, context)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
});
