/**
 * DFME (arXiv 2011.14779), as MAZE before it: a black box that tells logits or probabilities. The generator looks for inputs on which student and teacher
 * differ; the teacher's part of that gradient is found by forward differences in random directions, each a query.
 */
import { abs, f32, type HostTensor, mean, mul, Rng, sub, sum } from "@lfm/core";
import { z } from "zod";
import { learnFromAnswers, queryFields, queryInputs } from "../black-box/learn-from-answers.js";
import { zerothOrderGradient } from "../black-box/zeroth-order.js";
import { defineStudentMethod } from "../define-student-method.js";

const config = z.strictObject({
  directions: z.number().int().positive().default(1).describe("random directions m of each gradient: m + 1 queries an example"),
  step: z.number().positive().default(1e-3).describe("length ε of a step in a direction"),
  ...queryFields,
});

export const dfme = defineStudentMethod({
  id: "dfme",
  summary: "Distils a black box that tells logits: a generator looks for disagreement by gradients that are estimated from queries.",
  paper: { title: "Data-Free Model Extraction", arxiv: "2011.14779", year: 2020, survey: "4.3 adversarial exploration" },
  needs: ["logits"],
  inputs: queryInputs,
  config,
  learn: (inputs, c, context) =>
    learnFromAnswers("dfme", inputs, c, context, {
      offers: "logits",
      exploring: c.batch * (c.directions + 1),
      // Σ x·∂loss/∂x has the gradient by the generator that was found for x.
      inventorLoss: ({ x, direction }) => sum(mul(x, direction)),
      move: async (inventor, box, key, student) => {
        const x = await inventor.invent(key);
        /** How far apart student and teacher are on each example: to be made large. */
        const apart = async (at: HostTensor): Promise<Float64Array> => {
          const [t, s] = [await box.predict(at), await inventor.answer(at, student)];
          return meanDifference(t, s);
        };
        const gradient = await zerothOrderGradient(apart, x, { ...c, rng: new Rng(key).split("directions") });
        await inventor.learn(
          key,
          student,
          f32(
            gradient.map((v) => -v / c.batch),
            [...x.shape],
          ),
        );
      },
      compare: (told, student) => mean(abs(sub(told, student))),
    }),
});

function meanDifference(a: HostTensor, b: HostTensor): Float64Array {
  const [rows, classes] = a.shape as readonly [number, number];
  return Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let k = r * classes; k < (r + 1) * classes; k++) sum += Math.abs(Number(a.data[k]) - Number(b.data[k]));
    return sum / classes;
  });
}
