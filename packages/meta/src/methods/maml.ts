/**
 * MAML (arXiv 1703.03400): θ'ᵢ = θ − α∇L_Sᵢ(θ) repeated K times; θ ← θ − β∇_θ (1/n)Σᵢ L_Qᵢ(θ'ᵢ), exact second order.
 * First order (FOMAML): the inner gradients count as constants.
 * All tasks of a step lie in one graph. Where the model takes a task axis (mlp), a step is one batched product per layer whatever the number of
 * tasks; else the tasks are unrolled. Batch norm uses the statistics of the set at hand by default, in training and in testing, as the authors'
 * code does: queries are answered transductively.
 */
import { z } from "zod";
import { defineGradientMethod, gradientOptions } from "../gradient/gradient-method.js";
import { plainDescent } from "../gradient/moves.js";

export const maml = defineGradientMethod({
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
  loop: (c, steps) => ({ steps, move: plainDescent(c.innerLr) }),
});
