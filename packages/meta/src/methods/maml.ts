/**
 * MAML (arXiv 1703.03400): θ'ᵢ = θ − α∇L_Sᵢ(θ) repeated K times; θ ← θ − β∇_θ (1/n)Σᵢ L_Qᵢ(θ'ᵢ), exact second order.
 * First order (FOMAML): the inner gradients count as constants.
 * All tasks of a step lie in one graph. Where the model takes a task axis (mlp), a step is one batched product per layer whatever the number of
 * tasks; else the tasks are unrolled. Batch norm uses the statistics of the set at hand by default, in training and in testing, as the authors'
 * code does: queries are answered transductively.
 */
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import { answerAdapted } from "../gradient/adapted-answers.js";
import { gradientOptions, learnStart, namesThatLearn } from "../gradient/gradient-method.js";
import { plainDescent } from "../gradient/moves.js";
import { outerLoss } from "../gradient/outer-loss.js";

export const maml = defineMetaMethod({
  id: "maml",
  summary: "Learns an initialisation from which a few gradient steps solve a new task.",
  paper: {
    title: "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    arxiv: "1703.03400",
    year: 2017,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject(gradientOptions),
  presets: { fomaml: { summary: "first order", config: { order: "first" } } },
  norm: (c) => c.norm,
  learn: (inputs, c, context) => {
    const loop = { steps: c.innerSteps, move: plainDescent(c.innerLr) };
    const rule = { moves: namesThatLearn(inputs), loop };
    return learnStart("maml", inputs, c, { ...rule, outer: (groups, learned) => outerLoss(groups, loop, learned, c.order) }, context);
  },
  answer: ({ model, task, config: c, tensors }, episodes, context) => {
    const loop = { steps: c.evalSteps, move: plainDescent(c.innerLr) };
    const reader = { model, task, norm: c.norm };
    return answerAdapted("maml", { reader, moves: Object.keys(tensors), loop, tensors }, episodes, context, { threads: c.threads });
  },
});
