import { runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range } from "../../test/linear-models.js";
import { outsiders, overfit, shadows, unaware } from "../../test/overfit.js";
import { lossMembership } from "./loss.js";
import { rmia } from "./rmia.js";

it("with one reference that saw nothing it beats loss, with two halves of the data more so", async () => {
  const [plain, one, halves] = [
    await runMethod(lossMembership, overfit, {}, context),
    await runMethod(rmia, { ...overfit, references: outsiders(1) }, {}, context),
    await runMethod(rmia, { ...overfit, references: shadows(8) }, {}, context),
  ].map(({ findings }) => findings.risks.auc!.value);
  expect(one!).toBeGreaterThan(plain!);
  expect(halves!).toBeGreaterThan(one!);
});

/** p of class 0 at x = 1 is σ(w). */
const sigmoid = (w: number): number => 1 / (1 + Math.exp(-w));

it("by hand: the share of z whose ratio of likelihoods is γ times below", async () => {
  const points = { x: [1, 0.5, -1, 2].map((v) => Float64Array.of(v)), labels: [0, 0, 0, 0] };
  const references = [{ model: linearModel([[0.5], [0]]) }];
  const inputs = {
    victim: linearModel([[2], [0]]),
    members: asExamples(points, [0]),
    nonMembers: asExamples(points, [1, 2, 3]),
    references,
  };
  const ratio = (x: number): number => sigmoid(2 * x) / ((1.3 * sigmoid(0.5 * x) + 0.7) / 2);
  const gamma = 1.2;
  const share = (own: number, others: readonly number[]): number =>
    others.filter((z) => ratio(own) / ratio(z) >= gamma).length / others.length;
  const { findings } = await runMethod(rmia, inputs, { gamma }, context);
  expect(findings.scores!.members).toEqual([share(1, [0.5, -1, 2])]);
  expect(findings.scores!.nonMembers).toEqual([share(0.5, [-1, 2]), share(-1, [0.5, 2]), share(2, [0.5, -1])]);
  // With a population of their own z are all of it, and each is asked about.
  const apart = await runMethod(rmia, { ...inputs, population: asExamples(points, [2]) }, { gamma }, context);
  expect(apart.findings.scores!.nonMembers).toEqual([share(0.5, [-1]), share(-1, [-1]), share(2, [-1])]);
  expect([findings.queries, apart.findings.queries]).toEqual([4, 5]);
});

it("tells nothing of data that the model never saw, with a population of its own", async () => {
  const population = asExamples(drawPoints(200, 77, 120), range(0, 200));
  const { findings } = await runMethod(rmia, { ...unaware, references: outsiders(1), population }, {}, context);
  expect(Math.abs(findings.risks.auc!.value - 0.5)).toBeLessThan(0.05);
});
