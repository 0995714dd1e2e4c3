/**
 * MAML++ (arXiv 1810.09502), two of its parts: a learned rate for each parameter tensor and inner step (LSLR), and the multi-step loss: the
 * queries' loss after every step counts, and over the first outer steps that shifts to the last one.
 */
import { add, f32, maximum, minimum, mul, slice, sub, type Tensor } from "@lfm/core";
import { z } from "zod";
import { defineGradientMethod, gradientOptions, OWN, withDefault } from "../gradient/gradient-method.js";
import type { Move } from "../gradient/inner-loop.js";
import { alongDirection } from "../gradient/moves.js";
import { outerLoss, type StepWeights } from "../gradient/outer-loss.js";

const RATE = `${OWN}rate.`;

/** Each tensor by its learned rate of this step, f32[K]; steps beyond those of training take the last. */
export const byStepRates: Move = alongDirection((g, name, { learned, step }) => {
  const rates = learned[RATE + name]!;
  return mul(g, slice(rates, 0, Math.min(step, (rates.dim(0) as number) - 1), 1));
});

/**
 * Weights of the losses after steps 1 … K: equal at first; all but the last sink in a line over `over` outer steps to 3 % of that, and the last
 * takes what they lose. @param step f32[], the outer step from 1
 */
export function multiStepWeights(steps: number, over: number, step: Tensor): StepWeights {
  const equal = 1 / steps;
  const least = 0.03 * equal;
  const shifted = mul(sub(step, 1), equal / over);
  return (k) => {
    if (k === 0) return 0;
    if (steps === 1) return 1;
    if (k < steps) return maximum(sub(equal, shifted), least);
    return minimum(add(mul(shifted, steps - 1), equal), 1 - (steps - 1) * least);
  };
}

export const mamlPlusPlus = defineGradientMethod({
  id: "maml-plus-plus",
  summary: "MAML with a learned rate for each layer and inner step, and a loss after every step.",
  paper: { title: "How to Train Your MAML", arxiv: "1810.09502", year: 2018, survey: "6.1 white-box meta-learning" },
  config: z.strictObject({
    ...gradientOptions,
    innerLr: gradientOptions.innerLr.describe("what all rates begin with"),
    innerSteps: withDefault(gradientOptions.innerSteps, 5),
    multiStepFor: z
      .number()
      .int()
      .min(0)
      .default(500)
      .describe("outer steps over which the loss shifts to the last inner step; 0: the last alone counts"),
  }),
  loop: (_c, steps) => ({ steps, move: byStepRates }),
  own: (moves, _model, c) => Object.fromEntries(moves.map((name) => [RATE + name, f32(new Float32Array(c.innerSteps).fill(c.innerLr))])),
  outer: (groups, loop, learned, c, { step }) =>
    outerLoss(groups, loop, learned, c.order, c.multiStepFor > 0 ? multiStepWeights(c.innerSteps, c.multiStepFor, step) : undefined),
});
