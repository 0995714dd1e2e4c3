/**
 * ANIL (arXiv 1909.09157): MAML whose inner loop moves the last layer alone; the body is shared by all tasks and learned by the outer loop.
 */
import { LfmError, type Model } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import { answerAdapted } from "../gradient/adapted-answers.js";
import { gradientOptions, learnStart } from "../gradient/gradient-method.js";
import { plainDescent } from "../gradient/moves.js";
import { outerLoss } from "../gradient/outer-loss.js";
import { headParams } from "../inputs.js";

export const anil = defineMetaMethod({
  id: "anil",
  summary: "MAML whose inner loop moves the last layer alone, over a body that all tasks share.",
  paper: {
    title: "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML",
    arxiv: "1909.09157",
    year: 2019,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject(gradientOptions),
  norm: (c) => c.norm,
  learn: (inputs, c, context) => {
    const loop = { steps: c.innerSteps, move: plainDescent(c.innerLr) };
    const rule = { moves: headOf(inputs.model), loop };
    return learnStart("anil", inputs, c, { ...rule, outer: (groups, learned) => outerLoss(groups, loop, learned, c.order) }, context);
  },
  answer: ({ model, task, config: c, tensors }, episodes, context) => {
    const loop = { steps: c.evalSteps, move: plainDescent(c.innerLr) };
    const adaptation = { reader: { model, task, norm: c.norm }, moves: headOf(model), loop, tensors };
    return answerAdapted("anil", adaptation, episodes, context, { threads: c.threads });
  },
});

/** @throws {LfmError} CAPABILITY_MISSING for a model without a last layer */
function headOf(model: Model): readonly string[] {
  const names = headParams(model);
  if (names.length > 0) return names;
  throw new LfmError("CAPABILITY_MISSING", "[@lfm/meta] anil: the model has no last layer that could move alone", {
    hint: "give it one, or move all of it: lfm meta maml",
  });
}
