/**
 * Baseline++ (arXiv 1904.04232), its second stage: a classifier by cosines to learned class vectors is fitted on the support, over features that stay
 * as they are. Features come from whatever the model was trained on before (the first stage: an ordinary classifier on the base classes). Class
 * vectors begin as class means, and take full-batch steps.
 */
import { crossEntropy, grad, matmul, mul, sub, type Tensor } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import type { HeadRule } from "../metric/episode-head.js";
import { frozenOptions, nothingLearned } from "../metric/frozen-method.js";
import { prototypes, unitRows } from "../metric/heads.js";
import { answerByHead } from "../metric/metric-method.js";

export const cosineRule = (scale: number, lr: number, steps: number): HeadRule => ({
  head: ({ supports, labels, ways, queries }) => {
    const scores = (x: Tensor, w: Tensor): Tensor => mul(matmul(unitRows(x), unitRows(w), { transB: true }), scale);
    let w = unitRows(prototypes(supports, labels, ways));
    for (let k = 0; k < steps; k++) w = sub(w, mul(grad(crossEntropy(scores(supports, w), labels), w), lr));
    return scores(queries, w);
  },
});

export const baselinePlusPlus = defineMetaMethod({
  id: "baseline-plus-plus",
  summary: "Fits class vectors that are compared by cosine on the few examples' frozen features.",
  paper: { title: "A Closer Look at Few-shot Classification", arxiv: "1904.04232", year: 2019, survey: "6.1 white-box meta-learning" },
  needs: ["activations"],
  config: z.strictObject({
    ...frozenOptions,
    scale: z.number().positive().default(10).describe("factor of the cosines before the softmax"),
    lr: z.number().positive().default(0.1).describe("step size on the support"),
    fitSteps: z.number().int().min(0).default(20).describe("steps on the support; 0: cosines to the class means"),
  }),
  norm: (c) => c.norm,
  learn: nothingLearned,
  answer: (learned, episodes, context) => {
    const { scale, lr, fitSteps, norm } = learned.config;
    return answerByHead("baseline-plus-plus", learned, cosineRule(scale, lr, fitSteps), norm, episodes, context);
  },
});
