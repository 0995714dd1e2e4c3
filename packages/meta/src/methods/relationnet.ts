/**
 * Relation networks (arXiv 1711.06025): a small network compares a query's embedding with the sum of a class's: r = σ(g([Σ f(x_k), f(x)])), learned by
 * squared error against 1 for the right class and 0 for the others. The paper's g is convolutional over feature maps; here embeddings are vectors,
 * and g has two fully connected layers.
 */
import {
  add,
  broadcastTo,
  concat,
  expandDims,
  f32,
  type HostTensor,
  matmul,
  mean,
  oneHot,
  Rng,
  relu,
  reshape,
  sigmoid,
  square,
  sub,
  type Tensor,
} from "@lfm/core";
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import { type Embedded, type HeadRule, OF_HEAD } from "../metric/episode-head.js";
import { answerByHead, learnEmbedding, metricOptions } from "../metric/metric-method.js";

const [W1, B1, W2, B2] = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"].map((n) => `${OF_HEAD}relation.${n}`) as [
  string,
  string,
  string,
  string,
];

/** @param hidden width of g; @param rng draws its first values */
export function relationRule(hidden: number, rng: Rng): HeadRule {
  const drawn = (out: number, inner: number): HostTensor => f32(rng.normalArray(out * inner, inner ** -0.5), [out, inner]);
  return {
    own: (width) => ({
      [W1]: drawn(hidden, 2 * width),
      [B1]: f32(new Float32Array(hidden)),
      [W2]: drawn(1, hidden),
      [B2]: f32(new Float32Array(1)),
    }),
    head: relations,
    loss: (scores, targets, ways) => mean(square(sub(scores, oneHot(targets, ways)))),
  };
}

/** f32[m, ways] in (0, 1) */
function relations({ supports, labels, ways, queries, learned }: Embedded): Tensor {
  const classes = matmul(oneHot(labels, ways), supports, { transA: true });
  const [m, d] = [queries.dim(0), queries.dim(1)];
  const pairs = concat([broadcastTo(expandDims(classes, 0), [m, ways, d]), broadcastTo(expandDims(queries, 1), [m, ways, d])], 2);
  const h = relu(add(matmul(pairs, learned[W1]!, { transB: true }), learned[B1]!));
  return reshape(sigmoid(add(matmul(h, learned[W2]!, { transB: true }), learned[B2]!)), [m, ways]);
}

export const relationnet = defineMetaMethod({
  id: "relationnet",
  summary: "Learns an embedding together with a small network that says how alike a query and a class are.",
  paper: {
    title: "Learning to Compare: Relation Network for Few-Shot Learning",
    arxiv: "1711.06025",
    year: 2018,
    survey: "6.1 white-box meta-learning",
  },
  config: z.strictObject({
    ...metricOptions,
    relationWidth: z.number().int().positive().default(8).describe("width of the comparing network's hidden layer"),
  }),
  norm: (c) => c.norm,
  learn: (inputs, c, context) =>
    learnEmbedding("relationnet", inputs, c, relationRule(c.relationWidth, context.rng.split("relation")), context),
  answer: (learned, episodes, context) =>
    answerByHead("relationnet", learned, relationRule(learned.config.relationWidth, new Rng(0)), learned.config.norm, episodes, context),
});
