/** Meta-SGD (arXiv 1707.09835): θ' = θ − α∘∇L_S(θ), where α, one rate for each element of θ, is learned together with θ. */
import { f32, type HostTensor, mul } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import { answerAdapted } from "../gradient/adapted-answers.js";
import { gradientOptions, learnStart, namesThatLearn, OWN } from "../gradient/gradient-method.js";
import type { Move } from "../gradient/inner-loop.js";
import { alongDirection } from "../gradient/moves.js";
import { outerLoss } from "../gradient/outer-loss.js";

const RATE = `${OWN}rate.`;

/** Each element by its own learned rate. */
export const byOwnRates: Move = alongDirection((g, name, { learned }) => mul(g, learned[RATE + name]!));

export const metaSgd = defineMetaMethod({
  id: "meta-sgd",
  summary: "Learns an initialisation together with the rate and direction of each parameter's inner steps.",
  paper: {
    title: "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    arxiv: "1707.09835",
    year: 2017,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject({
    ...gradientOptions,
    innerLr: gradientOptions.innerLr.describe("what all rates α begin with"),
  }),
  norm: (c) => c.norm,
  learn: (inputs, c, context) => {
    const moves = namesThatLearn(inputs);
    const loop = { steps: c.innerSteps, move: byOwnRates };
    const own = Object.fromEntries(moves.map((name) => [RATE + name, filled(inputs.model.params[name]!.shape, c.innerLr)]));
    return learnStart(
      "meta-sgd",
      inputs,
      c,
      { moves, own, loop, outer: (groups, learned) => outerLoss(groups, loop, learned, c.order) },
      context,
    );
  },
  answer: ({ model, task, config: c, tensors }, episodes, context) => {
    const loop = { steps: c.evalSteps, move: byOwnRates };
    const moves = Object.keys(tensors).filter((name) => !name.startsWith(OWN));
    return answerAdapted("meta-sgd", { reader: { model, task, norm: c.norm }, moves, loop, tensors }, episodes, context, {
      threads: c.threads,
    });
  },
});

function filled(shape: readonly number[], value: number): HostTensor {
  return f32(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
}
