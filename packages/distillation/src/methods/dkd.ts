/** Decoupled knowledge distillation (arXiv 2203.08679): how sure the target class is, and how the others lie to each other, each with a weight of its own. */
import { mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { decoupledLoss } from "../losses/decoupled.js";
import { commonRows } from "../pair.js";
import { teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  labels: z.number().min(0).default(1).describe("weight of the labels' cross entropy"),
  weight: z.number().positive().default(1).describe("weight of the decoupled loss"),
  target: z.number().min(0).default(1).describe("weight α of how sure the target class is"),
  others: z.number().min(0).default(8).describe("weight β of the classes that are not the target"),
  temperature: z.number().positive().default(4).describe("softening T of both distributions"),
  ...teachingFields,
});

export const dkd = defineTeaching({
  id: "dkd",
  summary: "Logit distillation whose target class and other classes have weights of their own.",
  paper: { title: "Decoupled Knowledge Distillation", arxiv: "2203.08679", year: 2022, survey: "4 model distillation (baseline)" },
  needs: ["logits"],
  config,
  compares: () => "answers",
  answersAlone: true,
  teaching: (c) => c,
  lesson: (_pair, c) => ({
    labels: c.labels,
    terms: ({ teacher, answers: { logits, targets, weights } }) => {
      const [t, s] = commonRows(teacher.logits(), logits);
      return { terms: { decoupled: mul(decoupledLoss(t, s, targets, c, weights), c.weight) } };
    },
  }),
});
