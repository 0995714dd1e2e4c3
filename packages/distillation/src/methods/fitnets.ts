/** FitNets (arXiv 1412.6550): a hidden layer of the student, through a learned regressor, matches one of the teacher's. */
import { add, mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { hintLoss } from "../losses/hint.js";
import { sameSize } from "../maps.js";
import { pairPlaces } from "../places.js";
import { freshRegressors, regress } from "../regressors.js";
import { answerFields, layerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  hint: z.number().positive().default(100).describe("weight β of the hint"),
  ...layerFields,
  ...answerFields,
  ...teachingFields,
});

export const fitnets = defineTeaching({
  id: "fitnets",
  summary: "A hidden layer of the student learns to predict one of the teacher's.",
  paper: { title: "FitNets: Hints for Thin Deep Nets", arxiv: "1412.6550", year: 2014, survey: "4 model distillation (baseline)" },
  needs: ["weights", "grad", "activations"],
  config,
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: ({ teacher, student, task }, c, rng) => {
    const pairs = pairPlaces(student, teacher, c.layers, "middle");
    return {
      labels: c.labels,
      soft: { weight: c.kd, temperature: c.temperature },
      places: { student: pairs.map((p) => p.student.path), teacher: pairs.map((p) => p.teacher.path) },
      learned: freshRegressors(pairs, { teacher, student, task }, rng),
      terms: (seen) => {
        const hints = pairs.map((p, i) => {
          const [t, s] = sameSize(seen.teacher.at(p.teacher.path), seen.student.at(p.student.path));
          return hintLoss(t, regress(s, seen.own, i), s.rank === 3 ? seen.positions?.weights : undefined);
        });
        return { terms: { hint: mul(hints.reduce(add), c.hint / hints.length) } };
      },
    };
  },
});
