import { LfmError, type Model, modelInput, type Rng, studentInput } from "@lfm/core";
import { type LearningTask, taskInput } from "@lfm/train";
import type { z } from "zod";
import { type DistillationMethod, defineStudentMethod, type StudentSpec } from "./define-student-method.js";
import { cacheOptions, logitCacheInput } from "./logit-cache/logit-cache.js";
import { requirePair } from "./pair.js";
import { type Lesson, teach } from "./teaching.js";
import type { TeachingConfig } from "./teaching-options.js";

/** Teacher, student and data, all there. */
export interface TeachingPair {
  readonly teacher: Model;
  readonly student: Model;
  readonly task: LearningTask;
}

export interface TeachingSpec<Schema extends z.ZodObject> extends Omit<StudentSpec<Schema>, "inputs" | "learn"> {
  /** What of both is compared under these options: "answers" class by class, what stands before them, or nothing. */
  compares(config: z.output<Schema>): "answers" | "features" | "nothing";
  /** True: nothing but the teacher's answers is looked at, so that they can be kept on disk. */
  readonly answersAlone?: true;
  /** The part of the options that says how to train. */
  teaching(config: z.output<Schema>): TeachingConfig;
  /** @throws {LfmError} CONFIG_INVALID, CAPABILITY_MISSING for models that have no place for it */
  lesson(pair: TeachingPair, config: z.output<Schema>, rng: Rng): Lesson;
}

/** What every method is given whose student learns on data. */
export const teachingInputs = { teacher: modelInput, student: studentInput, task: taskInput } as const;

/** Of methods that look at nothing but the teacher's answers: where these are kept. */
export const cacheInput = { kind: logitCacheInput, optional: true, options: cacheOptions } as const;

/** A method whose student learns on data beside its teacher: what it adds to labels and softened answers. */
export function defineTeaching<Schema extends z.ZodObject>(spec: TeachingSpec<Schema>): DistillationMethod<Schema> {
  const { compares, answersAlone = false, teaching, lesson, ...described } = spec;
  return defineStudentMethod({
    ...described,
    inputs: answersAlone
      ? {
          ...teachingInputs,
          cache: {
            ...cacheInput,
            hint: "with these options the teacher is not asked: leave --cache out",
            when: (c: z.output<Schema>) => compares(c) === "answers",
          },
        }
      : teachingInputs,
    learn: async ({ teacher, student, task, cache }, c, context) => {
      const pair = { teacher, student, task: requireTask(spec.id, task) };
      const compared = compares(c);
      if (compared !== "nothing") requirePair(teacher, student, compared);
      const kept = answersAlone && compared === "answers" && cache ? { cache } : {};
      return teach({ ...pair, ...kept, lesson: lesson(pair, c, context.rng.split("lesson")) }, teaching(c), context, spec.id);
    },
  });
}

/** @throws {LfmError} CONFIG_INVALID */
export function requireTask(id: string, task: LearningTask | undefined): LearningTask {
  if (task) return task;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${id} learns on data: give a task`, {
    hint: "without data use a data-free method: dafl",
  });
}
