/**
 * The other baseline (arXiv 2003.11539): multinomial logistic regression with an L2 penalty on frozen features of length 1, fitted on the support of
 * an episode by Nesterov's gradient method inside the graph.
 */
import { add, concat, div, full, matmul, mul, oneHot, softmax, sub, type Tensor, zerosLike } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import type { HeadRule } from "../metric/episode-head.js";
import { frozenOptions, nothingLearned } from "../metric/frozen-method.js";
import { unitRows } from "../metric/heads.js";
import { answerByHead } from "../metric/metric-method.js";

export const logisticRule = (penalty: number, steps: number): HeadRule => ({
  head: ({ supports, labels, ways, queries }) => {
    const [x, q] = [withOne(unitRows(supports)), withOne(unitRows(queries))];
    return matmul(q, fitted(x, oneHot(labels, ways), penalty, steps));
  },
});

/** A last column of ones: the intercept, which the penalty holds too. */
function withOne(x: Tensor): Tensor {
  return concat([x, full([x.dim(0), 1], 1)], 1);
}

/**
 * W — f32[d, ways] that makes the mean cross entropy + (penalty/2)‖W‖² small. Rows of x are of length √2: the loss is 1-smooth, and penalty strongly
 * convex, which fixes step and momentum.
 */
function fitted(x: Tensor, y: Tensor, penalty: number, steps: number): Tensor {
  const rate = 1 / (1 + penalty);
  const root = Math.sqrt(penalty * rate);
  const momentum = (1 - root) / (1 + root);
  let w = zerosLike(matmul(x, y, { transA: true }));
  let ahead = w;
  for (let k = 0; k < steps; k++) {
    const slope = add(div(matmul(x, sub(softmax(matmul(x, ahead)), y), { transA: true }), dimOf(x)), mul(ahead, penalty));
    const next = sub(ahead, mul(slope, rate));
    ahead = add(next, mul(sub(next, w), momentum));
    w = next;
  }
  return w;
}

function dimOf(x: Tensor): number {
  return x.dim(0) as number;
}

export const logisticRegression = defineMetaMethod({
  id: "logistic-regression",
  summary: "Fits logistic regression on the few examples' frozen features; nothing is learned before.",
  paper: {
    title: "Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?",
    arxiv: "2003.11539",
    year: 2020,
    survey: "6.1 white-box meta-learning",
  },
  needs: ["activations"],
  config: z.strictObject({
    ...frozenOptions,
    penalty: z.number().positive().default(0.01).describe("strength of the L2 penalty"),
    solverSteps: z.number().int().positive().default(60).describe("steps of the gradient method"),
  }),
  norm: (c) => c.norm,
  learn: nothingLearned,
  answer: (learned, episodes, context) => {
    const { penalty, solverSteps, norm } = learned.config;
    return answerByHead("logistic-regression", learned, logisticRule(penalty, solverSteps), norm, episodes, context);
  },
});
