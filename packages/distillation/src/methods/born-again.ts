/**
 * Born-again networks (arXiv 1805.04770), self-distillation where the student has the teacher's shape: the first generation learns from the teacher,
 * each later one, from the same start, from the one before it.
 */
import type { Model } from "@lfm/core";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { requireTask, teachingInputs } from "../define-teaching.js";
import { requirePair } from "../pair.js";
import { type Taught, teach } from "../teaching.js";
import { answerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  generations: z.number().int().positive().default(2).describe("students, each taught by the one before"),
  ...answerFields,
  kd: z.number().positive().default(1).describe("weight of the teacher's softened outputs (T²·KL)"),
  temperature: z.number().positive().default(1).describe("softening T of both distributions"),
  ...teachingFields,
});

export const bornAgain = defineStudentMethod({
  id: "born-again",
  summary: "Generations of students: each learns from the labels and from the one before it.",
  paper: { title: "Born-Again Neural Networks", arxiv: "1805.04770", year: 2018, survey: "4 model distillation (baseline)" },
  needs: ["logits"],
  inputs: teachingInputs,
  config,
  learn: async ({ teacher, student, task: given }, c, context) => {
    const task = requireTask("born-again", given);
    requirePair(teacher, student, "answers");
    const lesson = { labels: c.labels, soft: { weight: c.kd, temperature: c.temperature } };
    const curves: Record<string, Taught["curves"][string]> = {};
    let [taughtBy, tensors]: [Model, Taught["tensors"]] = [teacher, {}];
    for (let k = 1; k <= c.generations; k++) {
      const taught = await teach({ teacher: taughtBy, student, task, lesson }, c, context, `born-again/${k}`);
      tensors = taught.tensors;
      taughtBy = { ...student, params: { ...student.params, ...tensors } };
      for (const [name, points] of Object.entries(taught.curves)) {
        const behind = (k - 1) * c.steps;
        curves[name] = [...(curves[name] ?? []), ...points.map(([step, value]) => [step + behind, value] as const)];
      }
    }
    return { tensors, curves };
  },
});
