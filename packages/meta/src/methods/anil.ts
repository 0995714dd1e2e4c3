/**
 * ANIL (arXiv 1909.09157): MAML whose inner loop moves the last layer alone; the body is shared by all tasks and learned by the outer loop.
 */
import { LfmError, type Model } from "@lfm/core";
import { z } from "zod";
import { defineGradientMethod, gradientOptions } from "../gradient/gradient-method.js";
import { plainDescent } from "../gradient/moves.js";
import { headParams } from "../inputs.js";

export const anil = defineGradientMethod({
  id: "anil",
  summary: "MAML whose inner loop moves the last layer alone, over a body that all tasks share.",
  paper: {
    title: "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML",
    arxiv: "1909.09157",
    year: 2019,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject(gradientOptions),
  moves: headOf,
  loop: (c, steps) => ({ steps, move: plainDescent(c.innerLr) }),
});

/** @throws {LfmError} CAPABILITY_MISSING for a model without a last layer */
function headOf(model: Model): readonly string[] {
  const names = headParams(model);
  if (names.length > 0) return names;
  throw new LfmError("CAPABILITY_MISSING", "[@lfm/meta] anil: the model has no last layer that could move alone", {
    hint: "give it one, or move all of it: lfm meta maml",
  });
}
