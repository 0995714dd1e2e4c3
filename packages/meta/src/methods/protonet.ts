/** Prototypical networks (arXiv 1703.05175): c_k = mean of embedded supports of class k; p(y = k | x) = softmax(−‖f(x) − c_k‖²). */
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import type { HeadRule } from "../metric/episode-head.js";
import { negativeSquaredDistances, prototypes } from "../metric/heads.js";
import { answerByHead, learnEmbedding, metricOptions } from "../metric/metric-method.js";

const rule: HeadRule = {
  head: ({ supports, labels, ways, queries }) => negativeSquaredDistances(queries, prototypes(supports, labels, ways)),
};

export const protonet = defineMetaMethod({
  id: "protonet",
  summary: "Learns an embedding in which classes gather around the mean of their few examples.",
  paper: { title: "Prototypical Networks for Few-shot Learning", arxiv: "1703.05175", year: 2017, survey: "6.1 white-box meta-learning" },
  config: z.strictObject(metricOptions),
  norm: (c) => c.norm,
  learn: (inputs, c, context) => learnEmbedding("protonet", inputs, c, rule, context),
  answer: (learned, episodes, context) => answerByHead("protonet", learned, rule, learned.config.norm, episodes, context),
});
