/**
 * MiniLMv2 (arXiv 2012.15828): how tokens are alike in the queries, keys and values of one layer of the teacher; the student's last layer shall have
 * the same relations. Widths, numbers of layers and of heads are each model's own.
 */
import { add, LfmError, type Model, mul } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { relationLoss } from "../losses/attention-relations.js";
import { pairPlaces } from "../places.js";
import { projectionRoles, projectionSites, roleOf } from "../projections.js";
import { answerFields, layerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  relation: z.number().positive().default(1).describe("weight of the relations of queries, of keys and of values, each"),
  heads: z.number().int().positive().optional().describe("relation heads that both widths are cut into; default: the teacher's heads"),
  ...layerFields,
  ...answerFields,
  labels: z.number().min(0).default(0).describe("weight of the labels' cross entropy"),
  ...teachingFields,
});

export const minilm = defineTeaching({
  id: "minilm",
  summary: "The student's attention sees the same relations between tokens as the teacher's.",
  paper: {
    title: "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained Transformers",
    arxiv: "2012.15828",
    year: 2020,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "activations"],
  config,
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: ({ teacher, student }, c) => {
    const pairs = pairPlaces(student, teacher, c.layers, "last").map((p) => ({
      student: projectionSites(student, layerOf(student, p.student.layer)),
      teacher: projectionSites(teacher, layerOf(teacher, p.teacher.layer)),
    }));
    const heads = relationHeads(teacher, student, c.heads);
    return {
      labels: c.labels,
      soft: { weight: c.kd, temperature: c.temperature },
      places: {
        student: pairs.flatMap((p) => projectionRoles.map((role) => p.student[role].path)),
        teacher: pairs.flatMap((p) => projectionRoles.map((role) => p.teacher[role].path)),
      },
      terms: (seen) => {
        const losses = pairs.flatMap((p) =>
          projectionRoles.map((role) => {
            const of = (side: "teacher" | "student") => roleOf(seen[side].at(p[side][role].path), p[side][role], role);
            return relationLoss(of("teacher"), of("student"), heads, seen.positions);
          }),
        );
        return { terms: { relation: mul(losses.reduce(add), c.relation / pairs.length) } };
      },
    };
  },
});

function layerOf({ info }: Model, layer: number | undefined): number {
  if (layer !== undefined) return layer;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] minilm compares blocks of ${info.architecture}, by number`, {
    hint: "--layers 2=5",
  });
}

/** @throws {LfmError} CONFIG_INVALID for a number that does not divide both widths */
function relationHeads(teacher: Model, student: Model, wanted: number | undefined): number {
  const heads = wanted ?? teacher.info.heads ?? 1;
  for (const { info } of [teacher, student])
    for (const site of info.sites) {
      const { heads: own, kvHeads, headDim } = site.attention ?? { heads: 0, kvHeads: 0, headDim: 0 };
      if ((own * headDim) % heads !== 0 || (kvHeads * headDim) % heads !== 0)
        throw new LfmError(
          "CONFIG_INVALID",
          `[@lfm/distillation] minilm: a width of ${kvHeads * headDim} is not cut into ${heads} relation heads`,
          {
            hint: `--heads ${commonDivisor(own * headDim, kvHeads * headDim, heads)}`,
          },
        );
    }
  return heads;
}

function commonDivisor(...numbers: readonly number[]): number {
  const of = (a: number, b: number): number => (b === 0 ? a : of(b, a % b));
  return numbers.reduce(of);
}
