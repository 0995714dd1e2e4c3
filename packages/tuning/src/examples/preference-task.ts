import { LfmError, type Model } from "@lfm/core";
import type { Preferences } from "@lfm/data";
import type { TextRules } from "@lfm/models";
import type { LearningTask } from "@lfm/train";
import type { z } from "zod";
import { type Objective, objectiveTask } from "../objectives/define-objective.js";
import type { TextTaskOptions } from "./text-task.js";
import { samplerOf } from "./token-rows.js";

/**
 * What a model learns from preferences by an objective.
 * @param read what `loadModel` read of a folder; for `reward` with a head of one output on it (`withClassifier`)
 * @param config of the objective
 * @throws {LfmError} CAPABILITY_MISSING for a model without tokenizer, or of another kind than the objective's; CONFIG_INVALID for examples that it
 *   cannot learn from
 * @example const task = preferenceTask(dpo, { beta: 0.1 }, readPairs("pairs.jsonl"), await loadModel("./model"));
 */
export function preferenceTask<Row, Schema extends z.ZodObject>(
  objective: Objective<Row, Schema>,
  config: z.input<Schema>,
  preferences: Preferences,
  { model, text }: { readonly model: Model; readonly text?: TextRules },
  { batchSize = 8, maxLength = 128, seed = 0, log = () => {} }: TextTaskOptions = {},
): LearningTask {
  if (!text) throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ${objective.id}: the model comes without a tokenizer`);
  requireLearner(objective, model);
  const options = { batchSize, maxLength: Math.min(maxLength, model.info.maxLength ?? maxLength), seed };
  const rows = objective.rows(preferences, text, options.maxLength, log);
  return objectiveTask(objective, config, rows, samplerOf(rows.length, options));
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that an objective does not learn with */
export function requireLearner({ id, learner }: Pick<Objective<never>, "id" | "learner">, { info }: Model): void {
  if (learner === "language" ? info.task === "causal-lm" : info.classes === 1) return;
  const wanted = learner === "language" ? "a decoder with its language head" : "a head with one output";
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ${id} learns with ${wanted}; ${info.architecture} is a ${info.task}`, {
    hint: learner === "language" ? "objective reward learns with a head" : "withClassifier(model, 1, seed)",
  });
}
