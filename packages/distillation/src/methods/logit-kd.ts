/** Knowledge distillation (arXiv 1503.02531): (1 − w)·CE(y, student) + w·T²·KL(teacher/T ‖ student/T), both means over the positions that count. */
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  temperature: z.number().positive().default(4).describe("softening T of both distributions"),
  kdWeight: z.number().min(0).max(1).default(0.9).describe("weight w of the teacher; the labels weigh 1 − w"),
  ...teachingFields,
});

export const logitKd = defineTeaching({
  id: "logit-kd",
  summary: "The student matches the teacher's softened outputs on real data.",
  paper: {
    title: "Distilling the Knowledge in a Neural Network",
    arxiv: "1503.02531",
    year: 2015,
    survey: "4 model distillation (baseline)",
  },
  needs: ["logits"],
  config,
  presets: { labels: { summary: "no teacher: the student on labels alone", config: { kdWeight: 0 } } },
  compares: (c) => (c.kdWeight > 0 ? "answers" : "nothing"),
  answersAlone: true,
  teaching: (c) => c,
  lesson: (_pair, c) => ({ labels: 1 - c.kdWeight, soft: { weight: c.kdWeight, temperature: c.temperature } }),
});
