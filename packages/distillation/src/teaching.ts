import {
  adamw,
  add,
  type ForwardContext,
  type HostTensor,
  LfmError,
  type MethodContext,
  type Model,
  mul,
  type Outputs,
  type ParamTree,
  stopGradient,
  type Tensor,
} from "@lfm/core";
import {
  type BatchSpec,
  type FitOptions,
  type FitResult,
  fit,
  fitContext,
  type LearningTask,
  type Scored,
  scoredLoss,
  sideBySide,
} from "@lfm/train";
import { exampleVectors } from "./example-vectors.js";
import { keptAnswers, TOLD } from "./logit-cache/kept-answers.js";
import type { LogitCachePlace } from "./logit-cache/logit-cache.js";
import { softTargetLoss } from "./losses/soft-targets.js";
import { commonRows } from "./pair.js";
import { collecting, outputAt } from "./places.js";
import { countedPositions, type Positions } from "./positions.js";
import type { TeachingConfig } from "./teaching-options.js";

/** One of two models on a batch. The teacher's tensors carry no gradient. */
export interface Side {
  readonly outputs: Outputs;
  /** What a place put out: f32[batch, seq, d], f32[batch, channels, height, width] or f32[batch, d]. @param path one of {@link Lesson.places} */
  at(path: string): Tensor;
  /** Logits of the positions that count, f32[…, classes]. */
  logits(): Tensor;
  /** One vector for each example, f32[batch, d]: what the model pools, or the mean of the last states that count. */
  example(): Tensor;
}

/** A batch as the terms of a lesson see it. */
export interface Seen {
  readonly student: Side;
  readonly teacher: Side;
  /** The student's answers, with what is right. */
  readonly answers: Scored;
  /** Positions of states that count. Absent: all, or there are none. */
  readonly positions: Positions | undefined;
  /** The lesson's own tensors, and its buffers. */
  readonly own: ParamTree;
  readonly batch: Readonly<Record<string, Tensor>>;
}

/** What a method adds to a student that learns on data. */
export interface Lesson {
  /** Weight of the labels' cross entropy (values: squared error). 0: labels are not read. */
  readonly labels: number;
  /** Weight and softening of the teacher's answers; absent: none. */
  readonly soft?: { readonly weight: number; readonly temperature: number } | undefined;
  /** Terms of the loss, weighted; the teacher's side is traced where it is asked. */
  readonly terms?: (seen: Seen) => { readonly terms: Readonly<Record<string, Tensor>>; readonly buffers?: ParamTree };
  /** Places whose output terms look at, by path. */
  readonly places?: { readonly student: readonly string[]; readonly teacher: readonly string[] };
  /** Tensors that learn beside the student and are dropped after it: regressors, projections. */
  readonly learned?: Readonly<Record<string, HostTensor>>;
  /** Tensors that steps overwrite: queues. */
  readonly buffers?: Readonly<Record<string, HostTensor>>;
}

export interface TeachInputs {
  readonly teacher: Model;
  readonly student: Model;
  readonly task: LearningTask;
  readonly lesson: Lesson;
  /** Where the teacher's answers are kept: it is asked outside of the steps, once about each row. The lesson asks for nothing else of it. */
  readonly cache?: LogitCachePlace;
}

/** What a lesson taught: parameters and buffers of the student. */
export interface Taught {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly curves: FitResult["curves"];
}

const OWN = "lesson/";

/**
 * A student learns on data beside its teacher: labels, softened answers and a method's own terms, in one graph. Only positions that count have a
 * part, and micro-batches weigh by them.
 * @param phase names the checkpoint
 * @param batches in place of the task's
 */
export async function teach(
  { teacher, student, task, lesson, cache }: TeachInputs,
  c: TeachingConfig,
  context: MethodContext,
  phase: string,
  batches: FitOptions["batches"] = (number) => task.batches(number),
): Promise<Taught> {
  const kept = cache && (await keptAnswers(cache, { teacher, task }, context));
  try {
    const given: FitOptions["batches"] = kept ? async (number, state) => kept.withAnswers(await batches(number, state)) : batches;
    return await learn({ teacher, student, task, lesson }, c, context, phase, given, kept?.spec ?? {});
  } finally {
    await kept?.dispose();
  }
}

async function learn(
  { teacher, student, task, lesson }: TeachInputs,
  c: TeachingConfig,
  context: MethodContext,
  phase: string,
  batches: NonNullable<FitOptions["batches"]>,
  told: BatchSpec,
): Promise<Taught> {
  const pair = sideBySide({ teacher, student });
  const learning = pair.learning("student");
  const { params, buffers, curves } = await fit({
    ...fitContext(context, phase),
    ...learning,
    trainable: { ...learning.trainable, ...inLesson(lesson.learned ?? {}) },
    buffers: { ...learning.buffers, ...inLesson(lesson.buffers ?? {}) },
    batch: { ...task.batch, ...told },
    batches,
    loss: (params, batch, { key }) => {
      const input = task.input(batch);
      const run = (name: "teacher" | "student", how: Pick<ForwardContext, "mode" | "key">): Side => {
        const found = new Map<string, Tensor>();
        const hooks = [...(task.hooks?.(batch) ?? []), collecting(new Set(lesson.places?.[name] ?? []), found)];
        const outputs = pair.forward(name, params, input, { ...how, hooks, batch });
        return sideOf(outputs, found, task, batch, name === "teacher" ? stopGradient : (x) => x);
      };
      const student = run("student", { mode: "train", key });
      const answers = task.scored(student.outputs, batch);
      const hard = scoredLoss(answers);
      // Traced when it is first asked: a lesson without a teacher's word has no teacher in its graph.
      let held: Side | undefined;
      const seen: Seen = {
        student,
        get teacher() {
          held ??= TOLD in batch ? answersOnly(batch[TOLD]!) : run("teacher", { mode: "eval" });
          return held;
        },
        answers,
        positions: countedPositions(task, batch),
        own: ofLesson(params),
        batch,
      };
      const terms: Record<string, Tensor> = {};
      if (lesson.labels > 0) terms.labels = mul(hard.loss, lesson.labels);
      if (lesson.soft && lesson.soft.weight > 0) {
        const { weight, temperature } = lesson.soft;
        terms.soft = mul(softTargetLoss(...commonRows(seen.teacher.logits(), answers.logits), temperature, answers.weights), weight);
      }
      const own = lesson.terms?.(seen);
      const all = Object.values({ ...terms, ...own?.terms });
      if (all.length === 0)
        throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${phase}: all weights are 0: there is nothing to learn`);
      return {
        loss: all.reduce(add),
        weight: hard.weight,
        ...(own ? { metrics: { ...terms, ...own.terms } } : {}),
        buffers: { ...student.outputs.buffers, ...inLesson(own?.buffers ?? {}) },
      };
    },
    optimizer: adamw({ weightDecay: c.weightDecay }),
    lr: c.lr,
    steps: c.steps,
    accumulate: c.accumulate,
  });
  return { tensors: pair.own("student", { ...buffers, ...params }), curves };
}

/** A side of which its answers are known. */
function answersOnly(logits: Tensor): Side {
  const refuse = (): never => {
    throw new LfmError("INTERNAL", "[@lfm/distillation] of a teacher whose answers were kept nothing else is known");
  };
  return {
    get outputs() {
      return refuse();
    },
    at: refuse,
    logits: () => logits,
    example: refuse,
  };
}

function sideOf(
  outputs: Outputs,
  found: ReadonlyMap<string, Tensor>,
  task: LearningTask,
  batch: Readonly<Record<string, Tensor>>,
  seen: (x: Tensor) => Tensor,
): Side {
  const { tokens } = task.input(batch);
  return {
    outputs,
    at: (path) => seen(outputAt(path, found, outputs, tokens)),
    logits: () => seen(task.scored(outputs, batch).logits),
    example: () => seen(exampleVectors(outputs, task, batch)),
  };
}

function inLesson<T>(tensors: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [`${OWN}${name}`, t]));
}

function ofLesson(params: ParamTree): ParamTree {
  return Object.fromEntries(Object.entries(params).flatMap(([name, t]) => (name.startsWith(OWN) ? [[name.slice(OWN.length), t]] : [])));
}
