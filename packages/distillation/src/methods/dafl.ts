/**
 * DAFL (arXiv 1904.01186): without any data, a generator learns inputs that the teacher finds typical —
 * confident (one-hot loss), strongly activating, evenly spread over the classes (balance) and, where it has batch norm, of its running
 * statistics (DeepInversion's term, arXiv 1912.08795) — and that the student still gets wrong (adversarial term, arXiv 1912.11006);
 * the student matches the teacher on them. Generator and student learn in the same step, each from its own loss alone.
 */
import { add, itemShapeInput, modelInput, mul, stopGradient, studentInput, type Tensor } from "@lfm/core";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { activationLoss, balanceLoss, constants, logitDistance, oneHotLoss } from "../generator-losses.js";
import { inventedItems } from "../invented-items.js";
import { learnWithGenerator } from "../learn-with-generator.js";
import { softTargetLoss } from "../losses/soft-targets.js";
import { requirePair } from "../pair.js";
import { runningStatistics, weightOfStatistics } from "../running-statistics.js";

const config = z.strictObject({
  steps: z.number().int().positive().default(400).describe("turns of generator and student"),
  batch: z.number().int().positive().default(128).describe("invented samples per turn"),
  noise: z.number().int().positive().default(64).describe("size of the generator's noise"),
  width: z.number().int().positive().multipleOf(2).default(64).describe("channels (or units) of the generator"),
  lr: z.number().positive().default(2e-3).describe("peak learning rate of generator and student (Adam, half a cosine down to 0)"),
  oneHot: z.number().min(0).default(1).describe("weight of the teacher's confidence"),
  balance: z.number().min(0).default(5).describe("weight β of the spread over classes"),
  activation: z.number().min(0).default(0.01).describe("weight α of the teacher's feature strength"),
  batchNorm: z.number().min(0).default(1).describe("weight of matching the teacher's running statistics"),
  adversarial: z.number().min(0).default(0.5).describe("weight of the student's disagreement"),
  match: z
    .enum(["l1", "kl"])
    .default("l1")
    .describe("how the student is compared: mean |difference| of logits, or T²·KL of softened outputs"),
  temperature: z.number().positive().default(1).describe("softening T of the kl comparison"),
});

export const dafl = defineStudentMethod({
  id: "dafl",
  summary: "Distils without data: a generator invents what the teacher knows and the student does not yet.",
  paper: { title: "Data-Free Learning of Student Networks", arxiv: "1904.01186", year: 2019, survey: "4.2 generative reconstruction" },
  needs: ["weights", "grad", "activations"],
  inputs: { teacher: modelInput, student: studentInput, itemShape: itemShapeInput },
  config,
  presets: {
    plain: {
      summary: "the paper's losses alone, with its weights for MNIST",
      config: { oneHot: 1, balance: 5, activation: 0.1, adversarial: 0, batchNorm: 0, match: "kl" },
    },
    dfq: {
      summary: "DFQ (arXiv 2005.04136): disagreement, statistics and confidence alike, a strong balance",
      config: { oneHot: 1, balance: 20, activation: 0, adversarial: 1, batchNorm: 1, match: "kl" },
    },
  },
  learn: async ({ teacher, student, itemShape }, c, context) => {
    const items = inventedItems("dafl", teacher, itemShape);
    requirePair(teacher, student, "answers");
    const batchNorm = weightOfStatistics(teacher, c.batchNorm, context);
    const compare = (t: Tensor, s: Tensor): Tensor => (c.match === "l1" ? logitDistance(t, s) : softTargetLoss(t, s, c.temperature));
    return learnWithGenerator("dafl", { teacher, student }, items, c, context, ({ x, params, pair }) => {
      const t = pair.own("teacher", params);
      const distances: Tensor[] = [];
      const running = runningStatistics(t, distances);
      const seen = pair.forward("teacher", params, { [items.field]: x }, { mode: "eval", hooks: batchNorm > 0 ? [running] : [] });
      const logits = seen.logits!;
      const terms = [mul(oneHotLoss(logits), c.oneHot), mul(balanceLoss(logits), c.balance)];
      if (seen.pooled && c.activation > 0) terms.push(mul(activationLoss(seen.pooled), c.activation));
      for (const distance of distances) terms.push(mul(distance, batchNorm));
      // The generator wants the student wrong, the student wants to be right: the one sees the other as a constant.
      if (c.adversarial > 0) {
        const opponent = pair.forward("student", constants(params), { [items.field]: x }, { mode: "train" });
        terms.push(mul(compare(logits, opponent.logits!), -c.adversarial));
      }
      const forGenerator = terms.reduce((a, b) => add(a, b));
      const answer = pair.forward("student", params, { [items.field]: stopGradient(x) }, { mode: "train" });
      const forStudent = compare(stopGradient(logits), answer.logits!);
      return {
        loss: add(forStudent, forGenerator),
        metrics: { student: forStudent, generator: forGenerator },
        buffers: answer.buffers ?? {},
      };
    });
  },
});
