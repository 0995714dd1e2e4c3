import { f32, type Model, runMethod } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, range, trainLinear } from "../../test/linear-models.js";
import { fgm } from "./fgm.js";
import { pgd } from "./pgd.js";

const points = drawPoints(60, 5, 6);
const examples = asExamples(points, range(0, 60));

it("with 40 steps leaves no more right than one step does, on a model that is not linear", async () => {
  const plain = mlp({ input_size: 6, hidden_sizes: [16], output_size: 2, activation: "tanh" });
  const start: Model = { ...plain, params: initWeights(plain.info, { seed: 5 }) };
  const weight = start.params["fc1.weight"] as { data: Float32Array };
  const victim = {
    ...start,
    params: {
      ...start.params,
      "fc1.weight": f32(
        weight.data.map((v) => 4 * v),
        [16, 6],
      ),
    },
  };
  for (const epsilon of [0.1, 0.3, 0.6]) {
    const one = (await runMethod(fgm, { victim, examples }, { epsilon }, context)).findings;
    const many = (await runMethod(pgd, { victim, examples }, { epsilon }, context)).findings;
    expect(many.measured.robustAccuracy!).toBeLessThanOrEqual(one.measured.robustAccuracy!);
    expect(many.measured.cleanAccuracy).toBe(one.measured.cleanAccuracy);
    expect(many.queries).toBe(60 * 42);
  }
});

it("on a linear model it ends where the one step does: in the corner of the ball", async () => {
  const victim = trainLinear(points, range(0, 60));
  for (const norm of ["inf", "2"] as const) {
    const one = (await runMethod(fgm, { victim, examples }, { epsilon: 0.2, norm }, context)).findings;
    const many = (await runMethod(pgd, { victim, examples }, { epsilon: 0.2, norm }, context)).findings;
    expect(many.risks.success!.value).toBeCloseTo(one.risks.success!.value, 12);
  }
});

it("begins in the ball, also where that is a point", async () => {
  const victim = trainLinear(points, range(0, 60));
  const { findings } = await runMethod(pgd, { victim, examples }, { epsilon: 0, steps: 2 }, context);
  expect(findings.risks.success!.value).toBe(0);
});
