import { type HostTensor, type Paper, parseConfig } from "@lfm/core";
import type { Preferences } from "@lfm/data";
import type { TextRules } from "@lfm/models";
import { type LearningTask, type Sampler, type TaskShape, withBatches } from "@lfm/train";
import type { z } from "zod";

/** What a model learns from preferences, over any adapter: tasks say it, and no method knows of it. */
export interface Objective<Row, Schema extends z.ZodObject = z.ZodObject> {
  /** kebab-case. */
  readonly id: string;
  /** One sentence: what it does. */
  readonly summary: string;
  readonly paper: Paper;
  /** z.strictObject; every field described with its symbol; defaults stand only here. */
  readonly config: Schema;
  /** What it learns from: pairs of a chosen and a rejected completion, or single completions that are judged. */
  readonly examples: Preferences["kind"];
  /** The model that it learns with: one of language, or one whose head gives a score. */
  readonly learner: "language" | "score";
  /** Examples as its batches are made of them. @throws {LfmError} CONFIG_INVALID for those of another kind, and where nothing is left to learn */
  rows(preferences: Preferences, rules: TextRules, maxLength: number, say: (message: string) => void): readonly Row[];
  /** How a batch is read and what is made small. @throws {LfmError} CONFIG_INVALID for options that go not together */
  task(config: z.output<Schema>): TaskShape;
  /** The batch of some rows. @param picked numbers of rows, at least one */
  batch(rows: readonly Row[], picked: readonly number[]): Readonly<Record<string, HostTensor>>;
}

/** Any objective, for lists. */
// biome-ignore lint/suspicious/noExplicitAny: a heterogeneous list has no common type of rows and options
export type AnyObjective = Objective<any, any>;

/** Freezes the description of an objective. */
export function defineObjective<Row, Schema extends z.ZodObject>(objective: Objective<Row, Schema>): Objective<Row, Schema> {
  return Object.freeze(objective);
}

/**
 * Learning of rows by an objective.
 * @param order which rows a batch has
 * @throws {LfmError} CONFIG_INVALID for options that the objective does not have
 */
export function objectiveTask<Row, Schema extends z.ZodObject>(
  objective: Objective<Row, Schema>,
  options: z.input<Schema>,
  rows: readonly Row[],
  order: Pick<Sampler, "batch" | "perEpoch">,
): LearningTask {
  const shape = objective.task(parseConfig(objective, options));
  return withBatches(shape, (number) => objective.batch(rows, order.batch(number)), order.perEpoch);
}
