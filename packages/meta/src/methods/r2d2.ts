/**
 * R2-D2 (arXiv 1805.08136): the head is ridge regression on the labels, in closed form and differentiated through: with supports X and one-hot labels
 * Y, W = Xᵀ(XXᵀ + λI)⁻¹Y (eq. 5) and a query's scores are αx·W + β. λ, α and β are learned.
 */
import { add, exp, f32, inverse, iota, matmul, mul, oneHot } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import { type HeadRule, OF_HEAD } from "../metric/episode-head.js";
import { answerByHead, learnEmbedding, metricOptions } from "../metric/metric-method.js";

const [LOG_RIDGE, SCALE, SHIFT] = [`${OF_HEAD}log-ridge`, `${OF_HEAD}scale`, `${OF_HEAD}shift`];

export const ridgeRule = (ridge: number): HeadRule => ({
  own: () => ({ [LOG_RIDGE]: f32([Math.log(ridge)]), [SCALE]: f32([1]), [SHIFT]: f32([0]) }),
  head: ({ supports, labels, ways, queries, learned }) => {
    const n = supports.dim(0);
    const system = add(matmul(supports, supports, { transB: true }), mul(oneHot(iota(n), n), exp(learned[LOG_RIDGE]!)));
    const weights = matmul(supports, matmul(inverse(system), oneHot(labels, ways)), { transA: true });
    return add(mul(matmul(queries, weights), learned[SCALE]!), learned[SHIFT]!);
  },
});

export const r2d2 = defineMetaMethod({
  id: "r2d2",
  summary: "Learns an embedding on which ridge regression, solved in closed form, tells new classes apart.",
  paper: {
    title: "Meta-learning with Differentiable Closed-form Solvers",
    arxiv: "1805.08136",
    year: 2018,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject({ ...metricOptions, ridge: z.number().positive().default(1).describe("λ before anything is learned") }),
  norm: (c) => c.norm,
  learn: (inputs, c, context) => learnEmbedding("r2d2", inputs, c, ridgeRule(c.ridge), context),
  answer: (learned, episodes, context) =>
    answerByHead("r2d2", learned, ridgeRule(learned.config.ridge), learned.config.norm, episodes, context),
});
