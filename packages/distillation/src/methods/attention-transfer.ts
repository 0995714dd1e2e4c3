/** Attention transfer (arXiv 1612.03928): where the teacher's layers are strongly active, the student's shall be too. */
import { add, LfmError, mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { attentionTransferLoss } from "../losses/attention-transfer.js";
import { sameSize } from "../maps.js";
import { pairPlaces, shapesAt } from "../places.js";
import { answerFields, layerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  attention: z.number().positive().default(1000).describe("weight β of the maps, summed over pairs of layers"),
  form: z
    .enum(["mean-square", "paper"])
    .default("mean-square")
    .describe("mean (Q − Q′)² over places, as the authors' code, or the paper's mean ‖Q − Q′‖"),
  ...layerFields,
  ...answerFields,
  ...teachingFields,
});

export const attentionTransfer = defineTeaching({
  id: "attention-transfer",
  summary: "The student's layers are active in the same places as the teacher's.",
  paper: {
    title: "Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks via Attention Transfer",
    arxiv: "1612.03928",
    year: 2016,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "activations"],
  config,
  presets: { paper: { summary: "the paper's distance, with a weight of its size", config: { form: "paper", attention: 1 } } },
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: ({ teacher, student, task }, c) => {
    const pairs = pairPlaces(student, teacher, c.layers, "every");
    for (const [model, paths] of [
      [teacher, pairs.map((p) => p.teacher.path)],
      [student, pairs.map((p) => p.student.path)],
    ] as const)
      for (const [path, shape] of shapesAt(model, task, paths))
        if (shape.length < 3)
          throw new LfmError(
            "CONFIG_INVALID",
            `[@lfm/distillation] attention-transfer: "${path}" of ${model.info.architecture} has no places`,
            {
              hint: "choose a method that compares vectors: fitnets, rkd, similarity-preserving",
            },
          );
    return {
      labels: c.labels,
      soft: { weight: c.kd, temperature: c.temperature },
      places: { student: pairs.map((p) => p.student.path), teacher: pairs.map((p) => p.teacher.path) },
      terms: (seen) => {
        const distances = pairs.map((p) => {
          const [t, s] = sameSize(seen.teacher.at(p.teacher.path), seen.student.at(p.student.path));
          return attentionTransferLoss(t, s, c.form, s.rank === 3 ? seen.positions : undefined);
        });
        return { terms: { attention: mul(distances.reduce(add), c.attention) } };
      },
    };
  },
});
