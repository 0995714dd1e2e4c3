import { runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { asExamples, context, linearModel } from "../../test/linear-models.js";
import { outsiders, overfit, shadows, unaware } from "../../test/overfit.js";
import { lira } from "./lira.js";
import { lossMembership } from "./loss.js";

it("with 16 shadow models finds at least three times as many members at 1 % false positives as loss does", async () => {
  const plain = await runMethod(lossMembership, overfit, {}, context);
  expect(plain.findings.measured.accuracyGap!).toBeGreaterThan(0.15);
  const { findings } = await runMethod(lira, { ...overfit, references: shadows(16) }, {}, context);
  expect(findings.risks["tprAt1%Fpr"]!.value).toBeGreaterThan(3 * plain.findings.risks["tprAt1%Fpr"]!.value);
  expect(findings.risks.auc!.value).toBeGreaterThan(plain.findings.risks.auc!.value);
});

it("offline, with models that saw no example, it is stronger than loss and weaker than online", async () => {
  const [online, offline, plain] = [
    await runMethod(lira, { ...overfit, references: shadows(6) }, {}, context),
    await runMethod(lira, { ...overfit, references: outsiders(2) }, {}, context, "offline"),
    await runMethod(lossMembership, overfit, {}, context),
  ].map(({ findings }) => findings.risks.auc!.value);
  expect(online!).toBeGreaterThan(offline!);
  expect(offline!).toBeGreaterThan(plain!);
});

/** Two members at x = 1; weights w are φ itself, for φ = w·x of class 0. */
const points = { x: [Float64Array.of(1), Float64Array.of(1)], labels: [0, 0] };
const sides = { members: asExamples(points, [0]), nonMembers: asExamples(points, [1]) };
const shadow = (w: number, saw: boolean) => ({ model: linearModel([[w], [0]]), saw: { members: [saw], nonMembers: [!saw] } });

it("by hand: ln N(φ; in) − ln N(φ; out), spreads around each example's own mean", async () => {
  const references = [shadow(4, true), shadow(6, true), shadow(1, false), shadow(2, false)];
  const inputs = { ...sides, victim: linearModel([[4], [0]]), references };
  // Members: in 4, 6; out 1, 2. Non-members the other way round. Pooled: in (2 + 0.5) / 2, out (0.5 + 2) / 2.
  const variance = 1.25;
  const member = (-((4 - 5) ** 2) + (4 - 1.5) ** 2) / (2 * variance);
  const shared = (await runMethod(lira, inputs, { variance: "shared" }, context)).findings;
  expect(shared.scores!.members[0]).toBeCloseTo(member, 5);
  expect(shared.scores!.nonMembers[0]).toBeCloseTo(-member, 5);
  const own = (await runMethod(lira, inputs, { variance: "own" }, context)).findings;
  const density = (x: number, m: number, v: number): number => -0.5 * Math.log(v) - (x - m) ** 2 / (2 * v);
  expect(own.scores!.members[0]).toBeCloseTo(density(4, 5, 2) - density(4, 1.5, 0.5), 5);
  // Offline: (φ − μ_out) / σ_out.
  const offline = (await runMethod(lira, inputs, { mode: "offline", variance: "own" }, context)).findings;
  expect(offline.scores!.members[0]).toBeCloseTo((4 - 1.5) / Math.SQRT1_2, 5);
});

it("tells nothing of data that the model never saw", async () => {
  const { findings } = await runMethod(lira, { ...unaware, references: outsiders(4) }, {}, context);
  expect(Math.abs(findings.risks.auc!.value - 0.5)).toBeLessThan(0.05);
});

it("says which shadow models are missing", async () => {
  const victim = linearModel([[4], [0]]);
  const one = { ...sides, victim, references: [shadow(4, true)] };
  await expect(runMethod(lira, one, { mode: "online" }, context)).rejects.toThrow("two shadow models");
  const outside = [1, 2].map((w) => ({ model: linearModel([[w], [0]]) }));
  await expect(runMethod(lira, { ...one, references: outside }, { mode: "online", variance: "own" }, context)).rejects.toMatchObject({
    message: expect.stringContaining("no shadow model learned from example 1"),
    hint: expect.stringContaining("--mode offline"),
  });
  const short = { model: victim, saw: { members: [true, false], nonMembers: [false] } };
  await expect(runMethod(lira, { ...one, references: [short] }, {}, context)).rejects.toThrow("says of 2 members");
});
