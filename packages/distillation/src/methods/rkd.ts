/** Relational knowledge distillation (arXiv 1904.05068): distances of pairs and angles of triplets of a batch, whatever the width of either model. */
import { mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { angleRelationLoss, distanceRelationLoss } from "../losses/relational.js";
import { answerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  distance: z.number().min(0).default(25).describe("weight of the distances of pairs"),
  angle: z.number().min(0).default(50).describe("weight of the angles of triplets: batch³ of them"),
  ...answerFields,
  ...teachingFields,
});

export const rkd = defineTeaching({
  id: "rkd",
  summary: "Distances and angles between the examples of a batch become those that the teacher has.",
  paper: { title: "Relational Knowledge Distillation", arxiv: "1904.05068", year: 2019, survey: "4 model distillation (baseline)" },
  needs: ["weights", "grad", "activations"],
  config,
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: (_pair, c) => ({
    labels: c.labels,
    soft: { weight: c.kd, temperature: c.temperature },
    terms: ({ teacher, student }) => {
      const [t, s] = [teacher.example(), student.example()];
      return {
        terms: {
          ...(c.distance > 0 ? { distance: mul(distanceRelationLoss(t, s), c.distance) } : {}),
          ...(c.angle > 0 ? { angle: mul(angleRelationLoss(t, s), c.angle) } : {}),
        },
      };
    },
  }),
});
