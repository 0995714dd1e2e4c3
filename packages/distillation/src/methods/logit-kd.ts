/** Knowledge distillation (arXiv 1503.02531): (1 − w)·CE(y, student) + w·T²·KL(teacher/T ‖ student/T), mean over the batch. */
import {
  adamw,
  add,
  defineMethod,
  klDivergence,
  LfmError,
  mean,
  modelInput,
  mul,
  stopGradient,
  studentInput,
  type Tensor,
} from "@lfm/core";
import { fit, fitContext, taskInput, trainableParams } from "@lfm/train";
import { z } from "zod";
import { type DistillationInputs, type DistillationOutput, part, prefixed, withParams } from "../inputs.js";

const config = z.strictObject({
  temperature: z.number().positive().default(4).describe("softening T of both distributions"),
  kdWeight: z.number().min(0).max(1).default(0.9).describe("weight w of the teacher; the labels weigh 1 − w"),
  steps: z.number().int().positive().default(300).describe("optimizer steps"),
  lr: z.number().positive().default(1e-3).describe("learning rate η of AdamW"),
  weightDecay: z.number().min(0).default(0.01).describe("decoupled decay λ of AdamW, per unit of η"),
});

/** T²·KL(softmax(t/T) ‖ softmax(s/T)), mean over items; logits f32[batch, classes]. */
export function softTargetLoss(teacherLogits: Tensor, studentLogits: Tensor, temperature: number): Tensor {
  return mul(mean(klDivergence(mul(teacherLogits, 1 / temperature), mul(studentLogits, 1 / temperature))), temperature ** 2);
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
  run: async (inputs: DistillationInputs, c, context): Promise<DistillationOutput> => {
    const { teacher, student, task } = inputs;
    if (!task)
      throw new LfmError("CONFIG_INVALID", "[@lfm/distillation] logit-kd learns on data: give a task", {
        hint: "without data use a data-free method: dafl",
      });
    const trainable = trainableParams(student);
    const buffers = Object.fromEntries(Object.entries(student.params).filter(([n]) => !(n in trainable)));
    const result = await fit({
      ...fitContext(context, "logit-kd"),
      trainable: prefixed("s/", trainable),
      buffers: prefixed("s/", buffers) as never,
      frozen: prefixed("t/", teacher.params),
      batch: task.batch,
      batches: (step) => task.batches(step) as never,
      loss: (params, batch, { key }) => {
        const input = task.input(batch as never);
        const out = student.forward(part("s/", params), input, { mode: "train", key });
        const updated = prefixed("s/", out.buffers ?? {});
        const hard = mul(task.loss(out, batch as never), 1 - c.kdWeight);
        if (c.kdWeight === 0) return { loss: hard, buffers: updated };
        const soft = stopGradient(teacher.forward(part("t/", params), input, { mode: "eval" }).logits!);
        return { loss: add(hard, mul(softTargetLoss(soft, out.logits!, c.temperature), c.kdWeight)), buffers: updated };
      },
      optimizer: adamw({ weightDecay: c.weightDecay }),
      lr: c.lr,
      steps: c.steps,
    });
    const params = part("s/", { ...result.buffers, ...result.params });
    return { params, student: withParams(student, params), curves: result.curves, monitors: [] };
  },
});
