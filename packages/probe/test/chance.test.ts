import { runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { calibratedLoss, labelOnly, lira, lossMembership, rmia } from "../src/index.js";
import { asExamples, context, drawPoints, range, trainLinear } from "./linear-models.js";

/** Points that no model here has seen, so many that an area under the curve is known to a hundredth (its standard error). */
const SIDE = 1600;
const points = drawPoints(2 * SIDE, 31, 12);
const elsewhere = (seed: number) => trainLinear(drawPoints(60, seed, 12), range(0, 60));
const inputs = {
  victim: elsewhere(40),
  members: asExamples(points, range(0, SIDE), "one half"),
  nonMembers: asExamples(points, range(SIDE, 2 * SIDE), "other half"),
  references: [{ model: elsewhere(41) }, { model: elsewhere(42) }],
};

it("on data that neither side saw every attack is chance: an area of .50 ± .03", async () => {
  const areas = {
    loss: (await runMethod(lossMembership, inputs, {}, context)).findings,
    calibrated: (await runMethod(calibratedLoss, inputs, {}, context)).findings,
    lira: (await runMethod(lira, inputs, {}, context, "offline")).findings,
    rmia: (await runMethod(rmia, inputs, {}, context)).findings,
    gap: (await runMethod(labelOnly, inputs, { copies: 0 }, context)).findings,
  };
  for (const [name, { risks, warnings }] of Object.entries(areas)) {
    expect(Math.abs(risks.auc!.value - 0.5), name).toBeLessThan(0.03);
    expect(risks["tprAt1%Fpr"]!.high, name).toBeLessThan(0.04);
    // 1,600 others do not show one in a thousand.
    expect(warnings!.join(), name).toContain("at 0.1 % false positives: it takes 3000");
  }
});
