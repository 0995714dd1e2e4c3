/** Probabilistic knowledge transfer (arXiv 1803.10837): each example has the same neighbours to the student as to the teacher. */
import { mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { probabilisticTransferLoss } from "../losses/probabilistic.js";
import { answerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  weight: z.number().positive().default(30000).describe("weight of the neighbourhoods"),
  ...answerFields,
  ...teachingFields,
});

export const pkt = defineTeaching({
  id: "pkt",
  summary: "The neighbours of each example, as a distribution, become those that the teacher has.",
  paper: {
    title: "Learning Deep Representations with Probabilistic Knowledge Transfer",
    arxiv: "1803.10837",
    year: 2018,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "activations"],
  config,
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: (_pair, c) => ({
    labels: c.labels,
    soft: { weight: c.kd, temperature: c.temperature },
    terms: ({ teacher, student }) => ({
      terms: { neighbours: mul(probabilisticTransferLoss(teacher.example(), student.example()), c.weight) },
    }),
  }),
});
