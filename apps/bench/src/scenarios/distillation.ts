import {
  adam,
  type CellOutcome,
  cosineSchedule,
  f32,
  type HostTensor,
  i32,
  itemShapeInput,
  type Metric,
  type Model,
  modelInput,
  provider,
  Rng,
  runMethod,
  studentInput,
  trainableParams,
} from "@lfm/core";
import { createGlyphs, type DigitSplit, loadMnist, takeRows } from "@lfm/data";
import { type DistillationOutput, logitKd } from "@lfm/distillation";
import { convnet, createBlackBox, initWeights } from "@lfm/models";
import { arrayClassificationTask, fit, fitContext, type LearningTask, modelTraining, taskInput } from "@lfm/train";
import type { CellContext, CellMethod, Scenario } from "../scenario.js";
import { runByKind } from "./run-by-kind.js";

/** Images with their classes: x f32[n, 1, size, size], labels i32[n]. */
interface Images {
  readonly x: HostTensor;
  readonly labels: HostTensor;
}

/** A teacher, a student to be, and images: many for the teacher, few for the student, others for the test. */
interface Problem {
  /** Names everything the teacher depends on. */
  readonly key: string;
  readonly size: number;
  readonly teacherWidths: readonly number[];
  readonly studentWidths: readonly number[];
  readonly teacherSteps: number;
  readonly teacherImages: () => Images;
  readonly studentImages: () => Images;
  /** Steps of the yardstick, the student on labels alone. */
  readonly labelSteps: number;
  readonly test: () => Images;
  /** Images apart from all others, on which options of methods are chosen. */
  readonly validation?: () => Images;
}

/** Random batches of 64, a pure function of the step. `seen` collects the rows that were asked for. */
function batchesOf(images: Images, rng: Rng, seen = new Set<number>()): LearningTask {
  const n = images.labels.data.length;
  return arrayClassificationTask("images", "pixels", images.x.shape.slice(1), (step) => {
    const draw = rng.split(step);
    const rows = Array.from({ length: Math.min(64, n) }, () => draw.int(n));
    for (const row of rows) seen.add(row);
    return { ...takeRows(images, rows) };
  });
}

function freshModel(size: number, widths: readonly number[], seed: number): Model {
  const config = { image_size: size, widths: [...widths], classes: 10 };
  return convnet(config, initWeights(convnet(config).info, { seed }));
}

async function trainTeacher(problem: Problem, context: CellContext): Promise<Model> {
  const model = freshModel(problem.size, problem.teacherWidths, context.seed);
  const task = batchesOf(problem.teacherImages(), new Rng(context.seed).split("teacher"));
  const { params, buffers } = await fit({
    ...fitContext(context, "teacher"),
    ...modelTraining(model, task, { learned: trainableParams(model) }),
    optimizer: adam(),
    lr: 3e-3,
    schedule: cosineSchedule(),
    steps: problem.teacherSteps,
  });
  return { ...model, params: { ...params, ...buffers } };
}

/** The class with the largest logit of every image. */
async function answers(context: CellContext, model: Model, images: Images): Promise<number[]> {
  const size = 256;
  const n = images.labels.data.length;
  const box = await createBlackBox(context.engine, model, { budget: n });
  try {
    const found: number[] = [];
    for (let at = 0; at < n; at += size) {
      const rows = Array.from({ length: Math.min(size, n - at) }, (_, i) => at + i);
      const { data, shape } = await box.predict(takeRows(images, rows).x);
      for (let r = 0; r < rows.length; r++) {
        const row = (data as Float32Array).subarray(r * shape[1]!, (r + 1) * shape[1]!);
        found.push(row.indexOf(Math.max(...row)));
      }
    }
    return found;
  } finally {
    await box.dispose();
  }
}

const share = (a: readonly number[], b: ArrayLike<number>): number => a.filter((v, i) => v === b[i]).length / a.length;

async function distil(cell: CellMethod, context: CellContext, problem: Problem): Promise<CellOutcome> {
  const { seed } = context;
  const timer = stopwatch();
  const teacher = await context.shared(`distillation/teacher/${problem.key}`, () => trainTeacher(problem, context));
  const teacherMs = timer();
  const test = problem.test();
  const few = problem.studentImages();
  const seen = new Set<number>();
  const student = freshModel(problem.size, problem.studentWidths, seed + 1000);
  const task = batchesOf(few, new Rng(seed).split("student"), seen);
  const labelsOnly = await context.shared(`distillation/labels/${problem.key}`, async () => {
    const onLabels = { teacher, student, task: batchesOf(few, new Rng(seed).split("student")) };
    const { student: taught } = await runMethod(logitKd, onLabels, { kdWeight: 0, steps: problem.labelSteps, lr: 3e-3 }, context);
    return share(await answers(context, taught, test), test.labels.data as Int32Array);
  });
  const labelsMs = timer();
  const output = await runByKind<DistillationOutput>(
    "distillation",
    cell,
    [
      provider(modelInput, () => teacher),
      provider(studentInput, () => student),
      provider(taskInput, () => task),
      provider(itemShapeInput, () => few.x.shape.slice(1)),
    ],
    context,
  );
  const distilMs = timer();
  const labels = test.labels.data as Int32Array;
  const [ofTeacher, ofStudent] = [await answers(context, teacher, test), await answers(context, output.student, test)];
  const fraction = (value: number, note: string): Metric => ({ value, unit: "fraction", higherIsBetter: true, note });
  const [teacherAccuracy, studentAccuracy] = [share(ofTeacher, labels), share(ofStudent, labels)];
  const trainable = trainableParams(output.student);
  const size = (params: Readonly<Record<string, { readonly shape: readonly number[] }>>): number =>
    Object.values(params).reduce((sum, p) => sum + p.shape.reduce((a, b) => a * b, 1), 0);
  const validation = problem.validation?.();
  const chosenOn = validation && share(await answers(context, output.student, validation), validation.labels.data as Int32Array);
  return {
    metrics: {
      ...(chosenOn === undefined ? {} : { validationAccuracy: fraction(chosenOn, "the student on the images that options are chosen on") }),
      studentAccuracy: fraction(studentAccuracy, `on ${labels.length} test images`),
      labelsOnlyAccuracy: fraction(labelsOnly, `the same student on the labels of ${few.labels.data.length} images, no teacher`),
      teacherAccuracy: fraction(teacherAccuracy, "the teacher on the same test images"),
      shareOfTeacher: {
        value: studentAccuracy / teacherAccuracy,
        unit: "ratio",
        higherIsBetter: true,
        note: "studentAccuracy / teacherAccuracy",
      },
      agreement: fraction(share(ofStudent, ofTeacher), "test images to which student and teacher give one answer"),
    },
    retention: null,
    trainableParams: size(trainable),
    bytes: 4 * size(output.delta.tensors),
    queries: output.queries ?? 0,
    // Counted, not declared: a data-free method never asks for a batch.
    dataUsed: seen.size,
    monitors: output.monitors,
    curves: output.curves,
    phasesMs: { teacher: teacherMs, labelsOnly: labelsMs, distil: distilMs },
  };
}

/** Milliseconds since the call before. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const ms = now - last;
    last = now;
    return ms;
  };
}

const glyphs: Scenario = {
  id: "glyphs",
  paradigm: "distillation",
  model: "convnet 16-32-32 → 8-8",
  summary: "Ten generated glyphs, a teacher that saw 2,000 of them, a small student: its share of right answers on 1,000 others.",
  headline: "studentAccuracy",
  access: ["weights", "grad", "activations", "logits", "labels"],
  run: (cell, context) => {
    const { seed } = context;
    const source = createGlyphs({ seed });
    return distil(cell, context, {
      key: `glyphs/${seed}`,
      size: 16,
      teacherWidths: [16, 32, 32],
      studentWidths: [8, 8],
      teacherSteps: 120,
      teacherImages: () => source.all("train", 200),
      studentImages: () => source.all("validation", 10),
      labelSteps: 200,
      test: () => source.all("test", 100),
    });
  },
};

/** Digits with MNIST's usual mean and deviation taken out; `keep` chooses among the images. */
function digits(split: DigitSplit, keep: (index: number) => boolean): Images {
  const rows = Array.from({ length: split.count }, (_, i) => i).filter(keep);
  const x = split.pixels.map((v) => (v - 0.1307) / 0.3081);
  return takeRows({ x: f32(x, [split.count, 1, 28, 28]), labels: i32(split.labels, [split.count]) }, rows);
}

const mnistDataFree: Scenario = {
  id: "mnist-data-free",
  paradigm: "distillation",
  model: "convnet 16-32-64 → 16-32",
  summary:
    "MNIST: a teacher of 7,000 digits, a student that sees none of them if its method is data-free: right answers on 2,000 test digits.",
  headline: "studentAccuracy",
  access: ["weights", "grad", "activations", "logits", "labels"],
  requires: ["data"],
  run: async (cell, context) => {
    const { splits } = await loadMnist(context.folders.data === undefined ? {} : { folder: context.folders.data });
    // Every eighth training digit chooses options; the student on labels gets a hundred others.
    return distil(cell, context, {
      key: `mnist/${context.seed}`,
      size: 28,
      teacherWidths: [16, 32, 64],
      studentWidths: [16, 32],
      teacherSteps: 500,
      teacherImages: () => digits(splits.train, (i) => i % 8 !== 0),
      studentImages: () => digits(splits.train, (i) => i % 80 === 1),
      labelSteps: 300,
      test: () => digits(splits.test, () => true),
      validation: () => digits(splits.train, (i) => i % 8 === 0),
    });
  },
};

export const distillationScenarios: readonly Scenario[] = [glyphs, mnistDataFree];
