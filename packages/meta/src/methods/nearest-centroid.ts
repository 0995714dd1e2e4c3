/**
 * The baseline of few-shot learning: class means of frozen features, of length 1 where asked (SimpleShot, arXiv 1911.04623). It often wins against
 * what was meta-learned.
 */
import { z } from "zod";
import { defineMetaMethod } from "../define-meta-method.js";
import type { HeadRule } from "../metric/episode-head.js";
import { frozenOptions, nothingLearned } from "../metric/frozen-method.js";
import { negativeSquaredDistances, prototypes, unitRows } from "../metric/heads.js";
import { answerByHead } from "../metric/metric-method.js";

export const centroidRule = (unit: boolean): HeadRule => ({
  head: ({ supports, labels, ways, queries }) => {
    const of = unit ? unitRows : (x: typeof supports) => x;
    return negativeSquaredDistances(of(queries), prototypes(of(supports), labels, ways));
  },
});

export const nearestCentroid = defineMetaMethod({
  id: "nearest-centroid",
  summary: "Answers by the nearest class mean of frozen features; nothing is learned.",
  paper: {
    title: "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning",
    arxiv: "1911.04623",
    year: 2019,
    survey: "6.1 white-box meta-learning",
  },
  needs: ["activations"],
  config: z.strictObject({ ...frozenOptions, unit: z.boolean().default(true).describe("features are brought to length 1 first") }),
  norm: (c) => c.norm,
  learn: nothingLearned,
  answer: (learned, episodes, context) =>
    answerByHead("nearest-centroid", learned, centroidRule(learned.config.unit), learned.config.norm, episodes, context),
});
