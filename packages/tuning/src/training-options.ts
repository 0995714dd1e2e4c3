import {
  adafactor,
  adam,
  adamw,
  constantSchedule,
  cosineSchedule,
  LfmError,
  linearSchedule,
  lion,
  momentum,
  type Optimizer,
  sgd,
} from "@lfm/core";
import { clipNorm, type FitOptions, type LearningTask } from "@lfm/train";
import { z } from "zod";
import { againstFields } from "./against/index.js";
import { monitorFields } from "./forgetting-monitor.js";

/** What every gradient-trained method has besides its learning rate. */
const commonFields = {
  steps: z.number().int().positive().default(200).describe("optimizer steps"),
  epochs: z.number().positive().optional().describe("passes over the examples, instead of steps"),
  accumulate: z.number().int().positive().default(1).describe("batches whose gradients make one optimizer step"),
  optimizer: z.enum(["adamw", "adam", "sgd", "momentum", "lion", "adafactor"]).default("adamw").describe("update rule"),
  weightDecay: z.number().min(0).default(0).describe("decay λ: decoupled, with sgd and momentum L2"),
  schedule: z.enum(["constant", "linear", "cosine"]).default("constant").describe("learning rate over the steps"),
  warmup: z.number().int().min(0).default(0).describe("warm-up steps"),
  clipNorm: z.number().positive().optional().describe("largest joint gradient norm"),
  modelDropout: z.boolean().default(true).describe("drop out where the model's configuration says so"),
  validEvery: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("measure validation examples every so many steps and keep the best state, not the last: they then take part in the choice"),
  patience: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("with validEvery: stop after so many measurements without a better validation loss"),
  ...againstFields,
  ...monitorFields,
};

/**
 * Options that every gradient-trained method has.
 * @param lr default of the learning rate: it differs by more than a hundredfold between methods. Chosen on held-out examples of a decoder and of an
 *   encoder by `npm run rates`; docs/results/rates.md has the numbers
 */
export function trainingFields(lr: number): typeof commonFields & { readonly lr: z.ZodDefault<z.ZodNumber> } {
  return { ...commonFields, lr: z.number().positive().default(lr).describe("peak learning rate η") };
}

export type TrainingConfig = z.output<z.ZodObject<ReturnType<typeof trainingFields>>>;

const schedules = { constant: () => constantSchedule(), linear: linearSchedule, cosine: cosineSchedule };

/** What the options say of a fit. @throws {LfmError} CONFIG_INVALID for epochs of a task without an end */
export function fitOptionsOf(
  c: TrainingConfig,
  task: Pick<LearningTask, "name" | "perEpoch">,
): Required<Pick<FitOptions, "optimizer" | "lr" | "schedule" | "steps" | "accumulate" | "gradients">> {
  return {
    optimizer: optimizerOf(c),
    lr: c.lr,
    schedule: schedules[c.schedule](c.warmup),
    steps: stepsOf(c, task),
    accumulate: c.accumulate,
    gradients: c.clipNorm === undefined ? [] : [clipNorm(c.clipNorm)],
  };
}

function stepsOf(c: TrainingConfig, { name, perEpoch }: Pick<LearningTask, "name" | "perEpoch">): number {
  if (c.epochs === undefined) return c.steps;
  if (perEpoch === undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] the examples of "${name}" have no end: an epoch cannot be counted`, {
      hint: "give steps",
    });
  return Math.max(1, Math.ceil((c.epochs * perEpoch) / c.accumulate));
}

function optimizerOf({ optimizer, weightDecay }: TrainingConfig): Optimizer {
  switch (optimizer) {
    case "adam":
      return adam();
    case "adamw":
      return adamw({ weightDecay });
    case "sgd":
      return sgd({ weightDecay });
    case "momentum":
      return momentum({ weightDecay });
    case "lion":
      return lion({ weightDecay });
    case "adafactor":
      return adafactor({ weightDecay });
  }
}
