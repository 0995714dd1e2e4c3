/** Knowledge distillation (arXiv 1503.02531): (1 − w)·CE(y, student) + w·T²·KL(teacher/T ‖ student/T), both means over the positions that count. */
import {
  adamw,
  add,
  defineMethod,
  klDivergence,
  LfmError,
  type Model,
  makeDelta,
  modelInput,
  mul,
  replacedParameters,
  slice,
  stopGradient,
  studentInput,
  type Tensor,
  withDeltas,
} from "@lfm/core";
import { fit, fitContext, scoredLoss, sideBySide, taskInput, weightedMean } from "@lfm/train";
import { z } from "zod";
import type { DistillationInputs, DistillationOutput } from "../inputs.js";

const config = z.strictObject({
  temperature: z.number().positive().default(4).describe("softening T of both distributions"),
  kdWeight: z.number().min(0).max(1).default(0.9).describe("weight w of the teacher; the labels weigh 1 − w"),
  steps: z.number().int().positive().default(300).describe("optimizer steps"),
  lr: z.number().positive().default(1e-3).describe("learning rate η of AdamW"),
  weightDecay: z.number().min(0).default(0.01).describe("decoupled decay λ of AdamW, per unit of η"),
});

/** T²·KL(softmax(t/T) ‖ softmax(s/T)), mean over items by their weights; logits f32[…, classes], weights f32[…]. */
export function softTargetLoss(teacherLogits: Tensor, studentLogits: Tensor, temperature: number, weights?: Tensor): Tensor {
  const divergence = klDivergence(mul(teacherLogits, 1 / temperature), mul(studentLogits, 1 / temperature));
  return mul(weightedMean(divergence, weights), temperature ** 2);
}

export const logitKd = defineMethod({
  id: "logit-kd",
  paradigm: "distillation",
  summary: "The student matches the teacher's softened outputs on real data.",
  paper: {
    title: "Distilling the Knowledge in a Neural Network",
    arxiv: "1503.02531",
    year: 2015,
    survey: "4 model distillation (baseline)",
  },
  needs: ["logits"],
  inputs: { teacher: modelInput, student: studentInput, task: taskInput },
  config,
  presets: { labels: { summary: "no teacher: the student on labels alone", config: { kdWeight: 0 } } },
  delta: replacedParameters,
  run: async (inputs: DistillationInputs, c, context): Promise<DistillationOutput> => {
    const { teacher, student, task, parent = null } = inputs;
    if (!task)
      throw new LfmError("CONFIG_INVALID", "[@lfm/distillation] logit-kd learns on data: give a task", {
        hint: "without data use a data-free method: dafl",
      });
    if (c.kdWeight > 0) requireSameClasses(teacher, student);
    const pair = sideBySide({ teacher, student });
    const result = await fit({
      ...fitContext(context, "logit-kd"),
      ...pair.learning("student"),
      batch: task.batch,
      batches: (number) => task.batches(number),
      loss: (params, batch, { key }) => {
        const input = task.input(batch);
        const hooks = task.hooks?.(batch) ?? [];
        const out = pair.forward("student", params, input, { mode: "train", key, hooks, batch });
        const answers = task.scored(out, batch);
        const hard = scoredLoss(answers);
        const common = { weight: hard.weight, buffers: out.buffers ?? {} };
        if (c.kdWeight === 0) return { loss: hard.loss, ...common };
        const soft = stopGradient(task.scored(pair.forward("teacher", params, input, { mode: "eval", hooks, batch }), batch).logits);
        const kd = softTargetLoss(...commonRows(soft, answers.logits), c.temperature, answers.weights);
        return { loss: add(mul(hard.loss, 1 - c.kdWeight), mul(kd, c.kdWeight)), ...common };
      },
      optimizer: adamw({ weightDecay: c.weightDecay }),
      lr: c.lr,
      steps: c.steps,
    });
    const delta = makeDelta(logitKd, c, pair.own("student", { ...result.buffers, ...result.params }), { parent });
    return { delta, student: withDeltas(student, [delta]), curves: result.curves, monitors: [] };
  },
});

/** @throws {LfmError} CONFIG_INVALID naming both numbers */
function requireSameClasses(teacher: Model, student: Model): void {
  const [ofTeacher, ofStudent] = [teacher.info.classes, student.info.classes];
  if (ofTeacher === undefined || ofStudent === undefined || ofTeacher === ofStudent) return;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] the teacher tells ${ofTeacher} classes apart, the student ${ofStudent}`, {
    hint: "give models of the same classes",
    details: { teacher: ofTeacher, student: ofStudent },
  });
}

/**
 * Logits over the ids that both have. Vocabularies are padded to round numbers, each model's to its own: rows behind the shorter one stand for
 * no token. That one tokenizer stands behind both is the caller's to know.
 */
function commonRows(teacher: Tensor, student: Tensor): readonly [teacher: Tensor, student: Tensor] {
  const last = teacher.shape.length - 1;
  const [a, b] = [teacher.dim(last), student.dim(last)];
  if (typeof a !== "number" || typeof b !== "number" || a === b) return [teacher, student];
  const rows = Math.min(a, b);
  return [slice(teacher, last, 0, rows), slice(student, last, 0, rows)];
}
