import type { Delta, Model, Monitor } from "@lfm/core";
import type { TextRules } from "@lfm/models";
import type { FitResult, LearningTask } from "@lfm/train";
import type { LogitCachePlace } from "./logit-cache/logit-cache.js";

export interface DistillationInputs {
  readonly teacher: Model;
  readonly student: Model;
  /** Labelled or unlabelled real data; data-free methods ignore it. */
  readonly task?: LearningTask;
  /** Shape of one input of the teacher, without the batch: what a data-free method must invent. */
  readonly itemShape?: readonly number[];
  /** Where the teacher's answers to examples are kept, so that it is asked about each once. Absent: it answers anew in every step. */
  readonly cache?: LogitCachePlace;
  /** How the teacher's text ends, for methods that let models write. Default: the end-of-text tokens of its configuration. */
  readonly text?: TextRules;
  /** Hash of the student before it learned, recorded in the delta. */
  readonly parent?: string;
}

export interface DistillationOutput {
  /** What the student learned: parameters that replace its own. */
  readonly delta: Delta;
  readonly student: Model;
  readonly curves: FitResult["curves"];
  readonly monitors: readonly Monitor[];
  /** Examples that a black box was asked about; absent where the teacher was open. */
  readonly queries?: number;
}
