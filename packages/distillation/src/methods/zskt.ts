/**
 * Zero-shot knowledge transfer (arXiv 1905.09768): a generator looks for inputs on which student and teacher differ, and the student learns to agree there,
 * in what it answers and in where its layers are active. The generator moves once in several steps.
 */
import { adam, add, type Hook, itemShapeInput, modelInput, mul, neg, stopGradient, studentInput, type Tensor } from "@lfm/core";
import type { FitOptions } from "@lfm/train";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { constants } from "../generator-losses.js";
import { GENERATOR } from "../generator-parameters.js";
import { inTurns } from "../in-turns.js";
import { inventedItems } from "../invented-items.js";
import { type InventedStep, learnWithGenerator } from "../learn-with-generator.js";
import { attentionTransferLoss } from "../losses/attention-transfer.js";
import { softTargetLoss } from "../losses/soft-targets.js";
import { sameSize } from "../maps.js";
import { requirePair } from "../pair.js";
import { collecting, pairPlaces } from "../places.js";
import { layerFields } from "../teaching-options.js";

const config = z.strictObject({
  steps: z.number().int().positive().default(1000).describe("steps of the student"),
  every: z.number().int().positive().default(10).describe("steps of the student for one of the generator"),
  batch: z.number().int().positive().default(128).describe("invented samples of a step"),
  noise: z.number().int().positive().default(100).describe("size of the generator's noise"),
  width: z.number().int().positive().multipleOf(2).default(64).describe("channels (or units) of the generator"),
  lr: z.number().positive().default(2e-3).describe("peak learning rate of the student (Adam, half a cosine down to 0)"),
  generatorRate: z.number().positive().default(0.5).describe("learning rate of the generator as a share of the student's"),
  attention: z.number().min(0).default(250).describe("weight β of attention maps, of models of images"),
  ...layerFields,
});

export const zskt = defineStudentMethod({
  id: "zskt",
  summary: "Distils without data: a generator seeks what student and teacher disagree on, the student learns to agree.",
  paper: {
    title: "Zero-shot Knowledge Transfer via Adversarial Belief Matching",
    arxiv: "1905.09768",
    year: 2019,
    survey: "4.3 adversarial exploration",
  },
  needs: ["weights", "grad", "activations"],
  inputs: { teacher: modelInput, student: studentInput, itemShape: itemShapeInput },
  config,
  learn: async ({ teacher, student, itemShape }, c, context) => {
    const items = inventedItems("zskt", teacher, itemShape);
    requirePair(teacher, student, "answers");
    const maps = c.attention > 0 && items.field === "pixels" ? pairPlaces(student, teacher, c.layers, "every") : [];
    const collected = (of: "teacher" | "student", into: Map<string, Tensor>): Hook =>
      collecting(new Set(maps.map((p) => p[of].path)), into);
    const learn = ({ x, params, pair }: InventedStep): ReturnType<FitOptions["loss"]> => {
      const [ofTeacher, ofStudent] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
      const looking = { mode: "eval", hooks: [collected("teacher", ofTeacher)] } as const;
      const logits = pair.forward("teacher", params, { [items.field]: x }, looking).logits!;
      // The generator wants the student wrong, the student wants to be right: the one sees the other as a constant.
      const opponent = pair.forward("student", constants(params), { [items.field]: x }, { mode: "train" });
      const forGenerator = neg(softTargetLoss(logits, opponent.logits!, 1));
      const learning = { mode: "train", hooks: [collected("student", ofStudent)] } as const;
      const answer = pair.forward("student", params, { [items.field]: stopGradient(x) }, learning);
      const agreement = softTargetLoss(stopGradient(logits), answer.logits!, 1);
      const attention = maps.map((p) =>
        attentionTransferLoss(...sameSize(stopGradient(ofTeacher.get(p.teacher.path)!), ofStudent.get(p.student.path)!), "mean-square"),
      );
      const forStudent = [agreement, ...attention.map((a) => mul(a, c.attention / attention.length))].reduce(add);
      return {
        loss: add(forStudent, forGenerator),
        metrics: { student: forStudent, agreement, generator: forGenerator },
        buffers: answer.buffers ?? {},
      };
    };
    const turns = inTurns({ owns: (name) => name.startsWith(GENERATOR), optimizer: adam(), every: c.every, rate: c.generatorRate }, adam());
    return learnWithGenerator("zskt", { teacher, student }, items, c, context, learn, turns);
  },
});
