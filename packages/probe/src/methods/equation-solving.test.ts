import { type Model, Rng, runMethod } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range } from "../../test/linear-models.js";
import { equationSolving } from "./equation-solving.js";

const rng = new Rng(3);
const d = 12;
const victim = linearModel(
  Array.from({ length: 5 }, () => rng.normalArray(d)),
  Array.from(rng.normalArray(5)),
);
const examples = asExamples(drawPoints(1000, 7, d), range(0, 1000));

it("takes a softmax of linear logits from d + 1 answers", async () => {
  const { findings } = await runMethod(equationSolving, { victim, examples }, {}, context);
  expect(findings.risks.agreement!.value).toBeGreaterThanOrEqual(0.999);
  expect(findings.queries).toBe(d + 1);
  expect(findings.measured.parameters).toBe(5 * 13);
});

it("fails against answers of one digit, and a model that is not linear", async () => {
  const rounded = (await runMethod(equationSolving, { victim, examples }, { digits: 1 }, context)).findings;
  expect(rounded.risks.agreement!.high).toBeLessThan(0.98);
  const plain = mlp({ input_size: d, hidden_sizes: [24], output_size: 5 });
  const bent: Model = { ...plain, params: initWeights(plain.info, { seed: 5 }) };
  const { findings } = await runMethod(equationSolving, { victim: bent, examples }, {}, context);
  expect(findings.risks.agreement!.high).toBeLessThan(0.98);
});

it("by hand: one feature, two classes", async () => {
  const two = linearModel([[0], [2]], [1, 0]);
  const points = { x: [0.49, 0.51].map((v) => Float64Array.of(v)), labels: [0, 1] };
  const { findings } = await runMethod(equationSolving, { victim: two, examples: asExamples(points, [0, 1]) }, {}, context);
  expect(findings).toMatchObject({ risks: { agreement: { hits: 2, of: 2 } }, measured: { copyAccuracy: 1 }, queries: 2 });
});

it("obeys its budget", async () => {
  await expect(runMethod(equationSolving, { victim, examples }, { budget: d }, context)).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });
});
