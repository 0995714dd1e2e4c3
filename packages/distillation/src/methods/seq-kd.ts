/** Sequence-level distillation (arXiv 1606.07947): the teacher answers the prompts of the data, and the student learns its answers instead of those that stand there. */
import { createGenerator, textRulesInput } from "@lfm/models";
import type { Batch } from "@lfm/train";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { requireTask, teachingInputs } from "../define-teaching.js";
import { requirePair } from "../pair.js";
import { answeredRows, endsOf, promptsOf, requireLanguageModels } from "../sampled-rows.js";
import { teach } from "../teaching.js";
import { teachingFields } from "../teaching-options.js";
import { writingFields } from "../writing-options.js";

const config = z.strictObject({
  beams: z
    .number()
    .int()
    .positive()
    .default(1)
    .describe("ways that the teacher's beam search follows; 1: the most likely token after token"),
  samplingTemperature: z
    .number()
    .min(0)
    .default(0)
    .describe("the teacher draws its tokens at this temperature, anew each time; 0: the most likely"),
  kd: z.number().min(0).default(0).describe("weight of the teacher's softened outputs (T²·KL) on its answers"),
  temperature: z.number().positive().default(1).describe("softening T of both distributions in kd"),
  ...writingFields,
  ...teachingFields,
});

export const seqKd = defineStudentMethod({
  id: "seq-kd",
  summary: "The student learns what the teacher writes after the prompts of the data.",
  paper: { title: "Sequence-Level Knowledge Distillation", arxiv: "1606.07947", year: 2016, survey: "4 model distillation (baseline)" },
  needs: ["weights", "grad", "logits"],
  inputs: { ...teachingInputs, text: { kind: textRulesInput, optional: true } },
  config,
  learn: async ({ teacher, student, task: given, text }, c, context) => {
    const task = requireTask("seq-kd", given);
    requireLanguageModels("seq-kd", { teacher, student, task });
    requirePair(teacher, student, "answers");
    const ends = endsOf(teacher, text);
    const generator = await createGenerator(context.engine, teacher);
    // What is not drawn is the same each time: an epoch's answers serve all others.
    const held = new Map<string, readonly number[]>();
    const answersTo = async (prompts: readonly (readonly number[])[], number: number): Promise<readonly (readonly number[])[]> => {
      const missing = prompts.filter((p) => !held.has(p.join()));
      if (missing.length > 0) {
        const drawing =
          c.samplingTemperature > 0 ? { temperature: c.samplingTemperature, rng: context.rng.split(`answers ${number}`) } : {};
        const found = await generator.generateBatch(missing, {
          maxNewTokens: c.maxNewTokens,
          eos: ends,
          ...drawing,
          ...(c.beams > 1 ? { beams: c.beams } : {}),
          ...(context.signal ? { signal: context.signal } : {}),
        });
        for (const [i, { tokens, finish }] of found.entries())
          held.set(missing[i]!.join(), finish === "eos" ? [...tokens, ends[0]!] : tokens);
      }
      const answers = prompts.map((p) => held.get(p.join())!);
      if (c.samplingTemperature > 0) held.clear();
      return answers;
    };
    const batches = async (number: number): Promise<Batch> => {
      const prompts = promptsOf(task.batches(number), c.opening);
      return answeredRows(prompts, await answersTo(prompts, number));
    };
    try {
      const lesson = { labels: 1, soft: { weight: c.kd, temperature: c.temperature } };
      return await teach({ teacher, student, task, lesson }, c, context, "seq-kd", batches);
    } finally {
      await generator.dispose();
    }
  },
});
