/**
 * Generalised knowledge distillation (arXiv 2306.13649): the student's distribution of each next token is drawn to the teacher's by a generalised
 * Jensen–Shannon divergence, on answers of the data and, for a share of the batches, on those that the student writes itself.
 */
import { textRulesInput } from "@lfm/models";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { cacheInput, requireTask, teachingInputs } from "../define-teaching.js";
import { jensenShannonLoss } from "../losses/jensen-shannon.js";
import { studentWriter } from "../on-policy.js";
import { commonRows, requirePair } from "../pair.js";
import { endsOf, requireLanguageModels } from "../sampled-rows.js";
import { type Seen, teach } from "../teaching.js";
import { teachingFields } from "../teaching-options.js";
import { writingFields } from "../writing-options.js";

const config = z.strictObject({
  beta: z.number().min(0).max(1).default(0.5).describe("β of the divergence: 0 is KL(teacher ‖ student), 1 is KL(student ‖ teacher)"),
  onPolicy: z.number().min(0).max(1).default(0.5).describe("share λ of the batches whose answers the student writes"),
  temperature: z.number().positive().default(1).describe("softening T of both distributions"),
  samplingTemperature: z.number().min(0).default(0.9).describe("temperature at which the student draws its tokens; 0: the most likely"),
  ...writingFields,
  ...teachingFields,
});

export const gkd = defineStudentMethod({
  id: "gkd",
  summary: "The student's next-token distributions are drawn to the teacher's, on the data's answers and on its own.",
  paper: {
    title: "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes",
    arxiv: "2306.13649",
    year: 2023,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "logits"],
  inputs: {
    ...teachingInputs,
    text: { kind: textRulesInput, optional: true },
    cache: { ...cacheInput, when: (c) => c.onPolicy === 0, hint: "--on-policy 0: what the student writes does not come again" },
  },
  config,
  presets: {
    supervised: { summary: "on the data's answers alone", config: { onPolicy: 0 } },
    "on-policy": { summary: "on the student's answers alone, by reverse KL", config: { onPolicy: 1, beta: 1 } },
  },
  learn: async ({ teacher, student, task: given, text, cache }, c, context) => {
    const task = requireTask("gkd", given);
    requireLanguageModels("gkd", { teacher, student, task });
    requirePair(teacher, student, "answers");
    const writer = studentWriter(student, c, endsOf(teacher, text), context);
    const coins = context.rng.split("on policy");
    const lesson = {
      labels: 0,
      terms: ({ teacher: t, answers: { logits, weights } }: Seen) => {
        const [ofTeacher, ofStudent] = commonRows(t.logits(), logits);
        return { terms: { divergence: jensenShannonLoss(ofTeacher, ofStudent, c.beta, c.temperature, weights) } };
      },
    };
    try {
      return await teach(
        { teacher, student, task, lesson, ...(cache && c.onPolicy === 0 ? { cache } : {}) },
        c,
        context,
        "gkd",
        async (number, state) =>
          coins.split(number).uniform() < c.onPolicy ? writer.answer(task.batches(number), number, state) : task.batches(number),
      );
    } finally {
      await writer.dispose();
    }
  },
});
