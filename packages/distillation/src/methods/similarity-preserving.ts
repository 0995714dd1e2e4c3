/** Similarity-preserving distillation (arXiv 1907.09682): examples of a batch that are alike to the teacher shall be alike to the student. */
import { mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { similarityLoss } from "../losses/similarity-preserving.js";
import { answerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  weight: z.number().positive().default(3000).describe("weight γ of the similarities"),
  ...answerFields,
  ...teachingFields,
});

export const similarityPreserving = defineTeaching({
  id: "similarity-preserving",
  summary: "Examples that are alike to the teacher become alike to the student.",
  paper: {
    title: "Similarity-Preserving Knowledge Distillation",
    arxiv: "1907.09682",
    year: 2019,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "activations"],
  config,
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: (_pair, c) => ({
    labels: c.labels,
    soft: { weight: c.kd, temperature: c.temperature },
    terms: ({ teacher, student }) => ({ terms: { similarity: mul(similarityLoss(teacher.example(), student.example()), c.weight) } }),
  }),
});
