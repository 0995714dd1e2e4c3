/**
 * IDEAL (arXiv 2205.11158): a black box that tells labels alone, one query for each example. The generator never asks: it learns from the student what
 * the student is sure of, evenly over the classes; the student learns what the teacher calls that.
 */
import { add, cast, crossEntropy, floor, mul, randomUniform } from "@lfm/core";
import { z } from "zod";
import { learnFromAnswers, queryFields, queryInputs, toldCrossEntropy } from "../black-box/learn-from-answers.js";
import { defineStudentMethod } from "../define-student-method.js";
import { balanceLoss } from "../generator-losses.js";

const config = z.strictObject({
  generatorSteps: z.number().int().positive().default(2).describe("steps of the generator before each batch is asked about"),
  balance: z.number().min(0).default(5).describe("weight λ of an even spread over the classes"),
  ...queryFields,
});

export const ideal = defineStudentMethod({
  id: "ideal",
  summary: "Distils a black box that tells labels alone: a generator learns from the student what to ask, one query an example.",
  paper: {
    title: "IDEAL: Query-Efficient Data-Free Learning from Black-Box Models",
    arxiv: "2205.11158",
    year: 2022,
    survey: "4.3 adversarial exploration",
  },
  needs: ["labels"],
  inputs: queryInputs,
  config,
  learn: (inputs, c, context) =>
    learnFromAnswers("ideal", inputs, c, context, {
      offers: "labels",
      exploring: 0,
      inventorLoss: ({ x, student, key }) => {
        const logits = student();
        const classes = logits.dim(-1) as number;
        const wanted = cast(floor(mul(randomUniform(key, [x.dim(0)], 7), classes)), "i32");
        return add(crossEntropy(logits, wanted), mul(balanceLoss(logits), c.balance));
      },
      move: async (inventor, _box, key, student) => {
        for (let i = 0; i < c.generatorSteps; i++) await inventor.learn((key + i) | 0, student);
      },
      compare: toldCrossEntropy,
    }),
});
