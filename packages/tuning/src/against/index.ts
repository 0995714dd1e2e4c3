/** What keeps a training from losing what the model knew: each can stand beside every tuning method, and beside the others. */
import {
  type ChangedWeight,
  changedWeights,
  type Delta,
  inputKind,
  isPlain,
  LfmError,
  type Model,
  type ParamTree,
  type Weight,
} from "@lfm/core";
import { type FisherStatistics, findStatistics, refuseOtherWeights } from "@lfm/statistics";
import type { LearningTask, WhatLearns } from "@lfm/train";
import { z } from "zod";
import { ewcPenalty } from "./ewc.js";
import { l2SpPenalty } from "./l2-sp.js";
import { withLwf } from "./lwf.js";
import { withReplay } from "./replay.js";

/** Options that every tuning method has. */
export const againstFields = {
  against: z
    .array(z.enum(["replay", "ewc", "lwf", "l2-sp"]))
    .default([])
    .describe("against forgetting: old examples beside the new, weights that matter held, old answers held, all weights held"),
  replayWeight: z.number().positive().default(1).describe("replay: weight of the old examples' loss"),
  ewcLambda: z.number().positive().default(1000).describe("ewc: λ, weight of the squared changes, each by its Fisher information"),
  lwfWeight: z.number().positive().default(1).describe("lwf: λ, weight of the old answers"),
  lwfTemperature: z.number().min(1).default(2).describe("lwf: temperature T of old and new answers"),
  l2spAlpha: z.number().positive().default(0.1).describe("l2-sp: α, weight of the squared changes"),
  l2spBeta: z.number().min(0).default(0.01).describe("l2-sp: β, decay of a fresh head"),
};
const fields = z.object(againstFields);
export type AgainstConfig = z.output<typeof fields>;

/** Examples of what the model knew, to be learned beside new ones. */
export const replayInput = inputKind<LearningTask>("replay");
/** How much each weight matters to what the model knows. */
export const fisherInput = inputKind<FisherStatistics>("fisher");
/** Parameters that have no trained values yet: a head that was just put on. */
export const freshInput = inputKind<readonly string[]>("fresh-parameters");

export interface AgainstInputs {
  readonly model: Model;
  readonly task: LearningTask;
  readonly parent?: string;
  readonly replay?: LearningTask;
  readonly fisher?: FisherStatistics;
  readonly fresh?: readonly string[];
}

/** What a training is with it: the task, and terms of the loss. */
export interface Kept extends Pick<WhatLearns, "penalties" | "constants"> {
  readonly task: LearningTask;
}

/**
 * @param delta as it begins: what it makes of the weights is what is held; @param express its tensors out of those that learn
 * @throws {LfmError} CONFIG_INVALID for what is not given; CAPABILITY_MISSING for answers of a fresh head, and weights of a delta that changes none;
 *   PARENT_MISMATCH for statistics of other weights
 */
export function keptBy(c: AgainstConfig, inputs: AgainstInputs, delta: Delta, express: (own: ParamTree) => ParamTree): Kept {
  const { model, replay, fresh = [] } = inputs;
  const { against } = c;
  const free = new Set(fresh);
  let { task } = inputs;
  if (against.includes("lwf")) {
    if (free.size > 0)
      throw new LfmError(
        "CAPABILITY_MISSING",
        "[@lfm/tuning] lwf keeps the answers that a model gives already; its head here is a fresh one",
        {
          hint: "--against l2-sp or ewc hold the weights of the encoder",
        },
      );
    task = withLwf(task, { weight: c.lwfWeight, temperature: c.lwfTemperature });
  }
  if (against.includes("replay")) {
    if (!replay) throw missing("replay", "examples of what the model knew");
    task = withReplay(task, replay, c.replayWeight);
  }
  const changed = (own: ParamTree, base: ParamTree): readonly ChangedWeight[] => changedWeights(model, delta, express(own), base);
  const ewc = against.includes("ewc") ? fisherOf(inputs) : undefined;
  const spTerms = { alpha: c.l2spAlpha, beta: c.l2spBeta };
  const penalties: NonNullable<Kept["penalties"]> = {
    ...(ewc ? { ewc: (own, base, fisher) => ewcPenalty(changed(own, base), fisher, c.ewcLambda, free) } : {}),
    ...(against.includes("l2-sp") ? { "l2-sp": (own, base) => l2SpPenalty(changed(own, base), spTerms, free) } : {}),
  };
  if (Object.keys(penalties).length > 0 && !isPlain(model, delta))
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/tuning] ${Object.keys(penalties).join(" and ")} hold weights, and ${delta.method} changes none`,
      {
        hint: "--against replay or lwf stand beside every method",
      },
    );
  return { task, penalties, ...(ewc ? { constants: ewc } : {}) };
}

/** By the names of parameters. @throws {LfmError} CONFIG_INVALID, PARENT_MISMATCH, SHAPE_MISMATCH */
function fisherOf({ model, fisher, parent }: AgainstInputs): Readonly<Record<string, Weight>> {
  if (!fisher) throw missing("fisher", "Fisher statistics of the model");
  const name = model.info.architecture;
  if (parent !== undefined) refuseOtherWeights(fisher, parent, name);
  const found: Record<string, Weight> = {};
  for (const [parameter, { shape, trainable }] of Object.entries(model.info.params)) {
    const own = trainable ? findStatistics(fisher, parameter, shape, name) : undefined;
    if (own) found[parameter] = own.tensor;
  }
  return found;
}

function missing(input: string, what: string): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${what} are not given`, { hint: `--${input} FILE` });
}
