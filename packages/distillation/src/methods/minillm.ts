/**
 * MiniLLM (arXiv 2306.08543): reverse KL of whole answers. The student writes; where the teacher would not have written so, its later tokens make the
 * earlier ones less likely, and at every token the exact KL of the next one is made small. The answers come from the student alone (the paper mixes the
 * teacher into the sampling, and adds a language-modelling loss on a corpus).
 */
import { textRulesInput } from "@lfm/models";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { requireTask, teachingInputs } from "../define-teaching.js";
import { reversePolicyLoss } from "../losses/reverse-policy.js";
import { studentWriter } from "../on-policy.js";
import { commonRows, requirePair } from "../pair.js";
import { endsOf, requireLanguageModels } from "../sampled-rows.js";
import { type Seen, teach } from "../teaching.js";
import { teachingFields } from "../teaching-options.js";
import { writingFields } from "../writing-options.js";

const config = z.strictObject({
  samplingTemperature: z
    .number()
    .positive()
    .default(1)
    .describe("temperature at which the student draws its tokens; the gradient is exact at 1"),
  ...writingFields,
  ...teachingFields,
});

export const minillm = defineStudentMethod({
  id: "minillm",
  summary: "The student writes answers that the teacher would have written, by policy gradient on the reverse KL.",
  paper: {
    title: "MiniLLM: Knowledge Distillation of Large Language Models",
    arxiv: "2306.08543",
    year: 2023,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "logits"],
  inputs: { ...teachingInputs, text: { kind: textRulesInput, optional: true } },
  config,
  learn: async ({ teacher, student, task: given, text }, c, context) => {
    const task = requireTask("minillm", given);
    requireLanguageModels("minillm", { teacher, student, task });
    requirePair(teacher, student, "answers");
    const writer = studentWriter(student, c, endsOf(teacher, text), context);
    const lesson = {
      labels: 0,
      terms: ({ teacher: t, answers: { logits, targets, weights }, batch }: Seen) => {
        const [ofTeacher, ofStudent] = commonRows(t.logits(), logits);
        const [rows, seq] = [batch.tokens!.dim(0), batch.tokens!.dim(1)];
        const sampled = { teacher: ofTeacher, student: ofStudent, targets, weights: weights!, places: batch.scored!, rows, seq };
        return { terms: { policy: reversePolicyLoss(sampled) } };
      },
    };
    try {
      return await teach({ teacher, student, task, lesson }, c, context, "minillm", (number, state) =>
        writer.answer(task.batches(number), number, state),
      );
    } finally {
      await writer.dispose();
    }
  },
});
