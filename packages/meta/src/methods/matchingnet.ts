/**
 * Matching networks (arXiv 1606.04080) without full context embeddings: a query is answered by the labels of the supports, weighted by the softmax
 * of its cosines to them: p(y | x) = Σᵢ a(x, xᵢ) yᵢ.
 */
import { add, log, matmul, oneHot, softmax } from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import type { HeadRule } from "../metric/episode-head.js";
import { unitRows } from "../metric/heads.js";
import { answerByHead, learnEmbedding, metricOptions } from "../metric/metric-method.js";

export const matchingRule: HeadRule = {
  head: ({ supports, labels, ways, queries }) => {
    const attention = softmax(matmul(unitRows(queries), unitRows(supports), { transB: true }));
    // Logits whose softmax is p.
    return log(add(matmul(attention, oneHot(labels, ways)), 1e-12));
  },
};

export const matchingnet = defineMetaMethod({
  id: "matchingnet",
  summary: "Learns an embedding in which a query attends to the labelled examples that it is like.",
  paper: { title: "Matching Networks for One Shot Learning", arxiv: "1606.04080", year: 2016, survey: "6.1 white-box meta-learning" },
  config: z.strictObject(metricOptions),
  norm: (c) => c.norm,
  learn: (inputs, c, context) => learnEmbedding("matchingnet", inputs, c, matchingRule, context),
  answer: (learned, episodes, context) => answerByHead("matchingnet", learned, matchingRule, learned.config.norm, episodes, context),
});
