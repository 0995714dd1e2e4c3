/**
 * DeepInversion and, where the student has a word, Adaptive DeepInversion (arXiv 1912.08795): images are optimised until the teacher is sure of them, its
 * batch norms see their running statistics, and neighbouring pixels are alike; in later rounds also until the student disagrees. The student learns the
 * teacher's answers to all images so far. Augmentations of the authors' code (jitter, flips) are left out.
 */
import {
  adam,
  add,
  cosineSchedule,
  crossEntropy,
  f32,
  type HostTensor,
  i32,
  itemShapeInput,
  LfmError,
  mean,
  modelInput,
  mul,
  type Rng,
  selectRows,
  square,
  studentInput,
  type Tensor,
} from "@lfm/core";
import { createBlackBox } from "@lfm/models";
import { arrayClassificationTask, createSampler, fit, fitContext, type LearningTask, sideBySide } from "@lfm/train";
import { z } from "zod";
import { defineStudentMethod } from "../define-student-method.js";
import { totalVariation } from "../generator-losses.js";
import { type ItemField, inventedItems } from "../invented-items.js";
import { jensenShannonLoss } from "../losses/jensen-shannon.js";
import { collapseVerdict, countClasses } from "../mode-collapse.js";
import { requirePair } from "../pair.js";
import { runningStatistics, weightOfStatistics } from "../running-statistics.js";
import { type Taught, teach } from "../teaching.js";

const config = z.strictObject({
  rounds: z.number().int().positive().default(4).describe("batches of images, each followed by the student's share of its steps"),
  batch: z.number().int().positive().default(128).describe("images of a round"),
  iterations: z.number().int().positive().default(500).describe("steps that the images of a round are optimised for"),
  imageLr: z.number().positive().default(0.05).describe("peak learning rate of the images (Adam, half a cosine down to 0)"),
  batchNorm: z
    .number()
    .min(0)
    .default(10)
    .describe("weight of matching the teacher's running statistics; its first layer's counts ten times"),
  variation: z.number().min(0).default(1e-3).describe("weight of the total variation of neighbouring pixels"),
  size: z.number().min(0).default(1e-4).describe("weight of the images' mean square"),
  adversarial: z
    .number()
    .min(0)
    .default(0.2)
    .describe("weight of agreement with the student, 1 − JS, from the second round on; 0: DeepInversion alone"),
  steps: z.number().int().positive().default(1000).describe("optimizer steps of the student, in all rounds together"),
  studentBatch: z.number().int().positive().default(64).describe("images of a step of the student"),
  temperature: z.number().positive().default(3).describe("softening T of the teacher's answers"),
  lr: z.number().positive().default(1e-3).describe("learning rate η of the student (AdamW)"),
});

export const deepInversion = defineStudentMethod({
  id: "deep-inversion",
  summary: "Distils without data: images are optimised from noise until they look to the teacher like what it was trained on.",
  paper: {
    title: "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion",
    arxiv: "1912.08795",
    year: 2019,
    survey: "4.1 noise optimisation",
  },
  needs: ["weights", "grad", "activations"],
  inputs: { teacher: modelInput, student: studentInput, itemShape: itemShapeInput },
  config,
  presets: { plain: { summary: "DeepInversion: the student has no word in what is made", config: { adversarial: 0 } } },
  learn: async ({ teacher, student, itemShape }, c, context) => {
    const { item, field } = inventedItems("deep-inversion", teacher, itemShape);
    requirePair(teacher, student, "answers");
    const classes = teacher.info.classes;
    if (classes === undefined)
      throw new LfmError(
        "CAPABILITY_MISSING",
        `[@lfm/distillation] deep-inversion wants images of classes; ${teacher.info.architecture} has none`,
        {
          hint: "give a teacher that is a classifier",
        },
      );
    const batchNorm = weightOfStatistics(teacher, c.batchNorm, context);
    const images: HostTensor[] = [];
    const curves: Record<string, (readonly [number, number])[]> = {};
    const counts = new Array<number>(classes).fill(0);
    const box = await createBlackBox(context.engine, teacher, { budget: c.rounds * c.batch });
    let now = student;
    let tensors: Taught["tensors"] = {};
    try {
      for (let round = 1; round <= c.rounds; round++) {
        const rng = context.rng.split(`round ${round}`);
        const labels = i32(Array.from({ length: c.batch }, (_, i) => (i + rng.split("first").int(classes)) % classes));
        const pair = sideBySide({ teacher, student: now });
        const { params } = await fit({
          ...fitContext({ ...context, rng }, `deep-inversion/images-${round}`),
          trainable: { images: noise(rng.split("noise"), c.batch, item) },
          frozen: pair.learning().frozen,
          batch: { labels: { dtype: "i32", shape: [c.batch] } },
          batches: () => ({ labels }),
          loss: (tree, { labels: wanted }) => {
            const x = tree.images!;
            const distances: Tensor[] = [];
            const hooks = batchNorm > 0 ? [runningStatistics(pair.own("teacher", tree), distances)] : [];
            const seen = pair.forward("teacher", tree, { [field]: x }, { mode: "eval", hooks }).logits!;
            const terms = [crossEntropy(seen, wanted!), mul(mean(square(x)), c.size)];
            for (const [i, d] of distances.entries()) terms.push(mul(d, batchNorm * (i === 0 ? 10 : 1)));
            if (c.variation > 0 && x.rank === 4) terms.push(mul(totalVariation(x), c.variation));
            if (c.adversarial > 0 && round > 1) {
              const answer = pair.forward("student", tree, { [field]: x }, { mode: "eval" }).logits!;
              terms.push(mul(jensenShannonLoss(seen, answer, 0.5), -c.adversarial));
            }
            return { loss: terms.reduce(add) };
          },
          optimizer: adam(),
          lr: c.imageLr,
          schedule: cosineSchedule(),
          steps: c.iterations,
        });
        images.push(params.images!);
        // Which class the teacher sees, whatever was wanted.
        countClasses(await box.predict(params.images!), counts);
        const steps = Math.ceil((c.steps * round) / c.rounds) - Math.ceil((c.steps * (round - 1)) / c.rounds);
        if (steps === 0) continue;
        const task = poolTask(images, field, item, c.studentBatch, rng.split("pool"));
        const lesson = { labels: 0, soft: { weight: 1, temperature: c.temperature } };
        const options = { steps, lr: c.lr, weightDecay: 0, accumulate: 1 };
        const taught = await teach(
          { teacher, student: now, task, lesson },
          options,
          { ...context, rng },
          `deep-inversion/student-${round}`,
        );
        const behind = curves.loss?.length ?? 0;
        curves.loss = [...(curves.loss ?? []), ...(taught.curves.loss ?? []).map(([step, v]) => [step + behind, v] as const)];
        tensors = taught.tensors;
        now = { ...student, params: { ...student.params, ...tensors } };
      }
      return { tensors, curves, monitors: [collapseVerdict(counts, "images")] };
    } finally {
      await box.dispose();
    }
  },
});

/** Images of N(0, 1), f32[count, …item]. */
function noise(rng: Rng, count: number, item: readonly number[]): HostTensor {
  return f32(rng.normalArray(count * item.reduce((a, b) => a * b, 1)), [count, ...item]);
}

/** Batches of all images so far; labels stand there for their number alone. */
function poolTask(images: readonly HostTensor[], kind: ItemField, item: readonly number[], size: number, rng: Rng): LearningTask {
  const each = images[0]!.shape[0]!;
  const sampler = createSampler({ count: images.length * each, batchSize: size, rng });
  return arrayClassificationTask("invented images", kind, item, (number) => {
    const rows = sampler.batch(number);
    const x = rows.map((i) => selectRows(images[Math.floor(i / each)]!, [i % each]));
    const values = x.flatMap((t) => Array.from(t.data, Number));
    return { x: f32(values, [rows.length, ...item]), labels: i32(rows.map(() => 0)) };
  });
}
