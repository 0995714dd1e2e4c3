/**
 * Contrastive representation distillation (arXiv 1910.10699): of many embeddings of the teacher the student's shall tell the one of its own
 * example, and the other way round. The others come from a queue of earlier batches, where the authors' code keeps one of every example: tasks do not
 * number their examples.
 */
import { add, concat, f32, type HostTensor, linear, mul, type Rng, slice, stopGradient } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { exampleWidth } from "../example-vectors.js";
import { contrastiveLoss, unitRows } from "../losses/contrastive.js";
import { freshMatrix } from "../regressors.js";
import { answerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  contrast: z.number().positive().default(0.8).describe("weight β of the contrast, both directions together"),
  negatives: z.number().int().positive().default(1024).describe("other examples N, those that were seen last"),
  size: z.number().int().positive().default(128).describe("size of the embeddings that are compared"),
  contrastTemperature: z.number().positive().default(0.07).describe("temperature τ of the contrast"),
  ...answerFields,
  ...teachingFields,
});

const sides = ["teacher", "student"] as const;

export const crd = defineTeaching({
  id: "crd",
  summary: "The student's embedding of an example is the one, among many, that goes with the teacher's.",
  paper: { title: "Contrastive Representation Distillation", arxiv: "1910.10699", year: 2019, survey: "4 model distillation (baseline)" },
  needs: ["weights", "grad", "activations"],
  config,
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: ({ teacher, student, task }, c, rng) => {
    const widths = { teacher: exampleWidth(teacher, task), student: exampleWidth(student, task) };
    return {
      labels: c.labels,
      soft: { weight: c.kd, temperature: c.temperature },
      learned: Object.fromEntries(sides.map((side) => [`${side}.weight`, freshMatrix(rng.split(side), c.size, widths[side])])),
      buffers: Object.fromEntries(sides.map((side) => [`${side}.queue`, unitQueue(rng.split(`${side} queue`), c.negatives, c.size)])),
      terms: (seen) => {
        const [t, s] = sides.map((side) => unitRows(linear(seen[side].example(), seen.own[`${side}.weight`]!, undefined)));
        const [ofTeacher, ofStudent] = sides.map((side) => seen.own[`${side}.queue`]!);
        const contrast = add(
          contrastiveLoss(s!, t!, ofTeacher!, c.contrastTemperature),
          contrastiveLoss(t!, s!, ofStudent!, c.contrastTemperature),
        );
        const queued = { teacher: t!, student: s! };
        return {
          terms: { contrast: mul(contrast, c.contrast) },
          buffers: Object.fromEntries(
            sides.map((side) => {
              const name = `${side}.queue`;
              return [name, slice(concat([stopGradient(queued[side]), seen.own[name]!], 0), 0, 0, c.negatives)];
            }),
          ),
        };
      },
    };
  },
});

/** Random directions, for the time before the first batches. */
function unitQueue(rng: Rng, rows: number, size: number): HostTensor {
  const data = rng.normalArray(rows * size);
  for (let r = 0; r < rows; r++) {
    const own = data.subarray(r * size, (r + 1) * size);
    const length = Math.hypot(...own);
    for (let i = 0; i < size; i++) own[i] = own[i]! / length;
  }
  return f32(data, [rows, size]);
}
