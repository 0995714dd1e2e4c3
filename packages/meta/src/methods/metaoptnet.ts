/**
 * MetaOptNet (arXiv 1904.03758): the head is the multi-class support vector machine of Crammer and Singer on the supports. Its dual variables are
 * A = C(Y − P) with each row of P a distribution over the classes, and minimise ½tr(AᵀKA) − tr(AᵀY), K = XXᵀ. The authors solve that by an interior
 * point method and differentiate at the solution; here P takes a fixed number of steps of mirror descent (P ← softmax(log P + ηC(KA − Y)), which
 * stays feasible by itself), and the gradient goes through these steps: with few of them the machine is not solved to the end.
 */
import { abs, add, div, f32, full, logSoftmax, matmul, max, mul, oneHot, softmax, stopGradient, sub, sum, type Tensor } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import { type HeadRule, OF_HEAD } from "../metric/episode-head.js";
import { answerByHead, learnEmbedding, metricOptions } from "../metric/metric-method.js";

const SCALE = `${OF_HEAD}scale`;

export const machineRule = (c: number, steps: number): HeadRule => ({
  own: () => ({ [SCALE]: f32([1]) }),
  head: ({ supports, labels, ways, queries, learned }) => {
    const y = oneHot(labels, ways);
    const alpha = dualVariables(matmul(supports, supports, { transB: true }), y, c, steps);
    const scores = matmul(matmul(queries, supports, { transB: true }), alpha);
    return mul(scores, learned[SCALE]!);
  },
});

/** A — f32[n, ways]. @param kernel f32[n, n]; @param y one-hot f32[n, ways] */
function dualVariables(kernel: Tensor, y: Tensor, c: number, steps: number): Tensor {
  // The largest row sum is no smaller than the largest eigenvalue: no step of this size can overshoot.
  const rate = stopGradient(div(1, mul(max(sum(abs(kernel), -1)), c)));
  let logP = full(y.shape, -Math.log(y.dim(1) as number));
  let p = softmax(logP);
  for (let k = 0; k < steps; k++) {
    const a = mul(sub(y, p), c);
    logP = logSoftmax(add(logP, mul(sub(matmul(kernel, a), y), rate)));
    p = softmax(logP);
  }
  return mul(sub(y, p), c);
}

export const metaoptnet = defineMetaMethod({
  id: "metaoptnet",
  summary: "Learns an embedding on which a support vector machine, fitted by a fixed number of steps, tells new classes apart.",
  paper: {
    title: "Meta-Learning with Differentiable Convex Optimization",
    arxiv: "1904.03758",
    year: 2019,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject({
    ...metricOptions,
    slack: z.number().positive().default(0.1).describe("C: how much an example may weigh"),
    solverSteps: z.number().int().positive().default(15).describe("steps of mirror descent on the dual problem"),
  }),
  norm: (c) => c.norm,
  learn: (inputs, c, context) => learnEmbedding("metaoptnet", inputs, c, machineRule(c.slack, c.solverSteps), context),
  answer: (learned, episodes, context) => {
    const { slack, solverSteps, norm } = learned.config;
    return answerByHead("metaoptnet", learned, machineRule(slack, solverSteps), norm, episodes, context);
  },
});
