/**
 * Whether a training loses what the model knew: its loss on held-out examples of that, before and on the way, batch by batch. What is told is the
 * rise of the mean and how sure it is: every batch is compared with itself, so that hard and easy ones do not blur it.
 *
 * It warns where the rise is above `limit` nats and above three of its standard errors. A tenth of a nat is a perplexity 10.5 % higher: more than a
 * healthy adapter does to held-out text, less than what a user sees in answers. Three standard errors: of ten looks at a model that forgets nothing,
 * one in 75 would warn by chance (0.13 % each), were there no limit. With one batch there is no error to know; the limit alone decides.
 */
import { buffersOf, type Engine, inputKind, type Model, type Monitor } from "@lfm/core";
import { compileValidation, type MeasuredBatch, meanLoss, type ValidationSet, type Watch, type WhatLearns } from "@lfm/train";
import { z } from "zod";

/** Options that every tuning method has. */
export const monitorFields = {
  monitorEvery: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("with examples of what the model knew: measure its loss on them every so many steps; default a tenth of the steps"),
  forgetLimit: z
    .number()
    .positive()
    .default(0.1)
    .describe("warn when that loss has risen by more nats than this, and by three standard errors"),
};

/** Held-out examples of what the model knew. */
export const retainedInput = inputKind<ValidationSet>("retained");

/** Standard errors that a rise must be above. */
const SURE = 3;

/** A rise of the loss, by paired batches. */
export interface Rise {
  readonly before: number;
  readonly after: number;
  readonly rise: number;
  /** 0 with a single batch. */
  readonly standardError: number;
}

/** Of batches in the same order. */
export function riseOf(before: readonly MeasuredBatch[], after: readonly MeasuredBatch[]): Rise {
  const total = before.reduce((sum, b) => sum + b.weight, 0);
  const rises = before.map((b, i) => after[i]!.loss - b.loss);
  const rise = total === 0 ? 0 : rises.reduce((sum, d, i) => sum + before[i]!.weight * d, 0) / total;
  const n = before.length;
  const spread = rises.reduce((sum, d, i) => sum + (before[i]!.weight * (d - rise)) ** 2, 0);
  const standardError = n < 2 || total === 0 ? 0 : Math.sqrt((spread * n) / (n - 1)) / total;
  return { before: meanLoss(before), after: meanLoss(after), rise, standardError };
}

/** Whether a rise is told as forgetting. */
export function isForgetting({ rise, standardError }: Rise, limit: number): boolean {
  return rise > limit && rise > SURE * standardError;
}

export interface ForgettingWatch {
  /** For one phase of a training: what learns in it, and how many steps it has. Dispose it when the phase is over. */
  during(engine: Engine, what: WhatLearns, steps: number): Promise<{ readonly watch: Watch; dispose(): Promise<void> }>;
  /**
   * What is said in the end; undefined where nothing was looked at.
   * @param changed weights forget; a prompt interferes for as long as it stands there
   */
  monitor(changed: "weights" | "input"): Monitor | undefined;
}

/**
 * Watches a training.
 * @param warn told once, as soon as it is known
 */
export function watchForgetting(
  model: Model,
  retained: ValidationSet,
  options: { readonly every?: number | undefined; readonly limit: number },
  warn: (message: string) => void,
): ForgettingWatch {
  const { limit } = options;
  let before: readonly MeasuredBatch[] | undefined;
  let last: Rise | undefined;
  let warned = false;
  return {
    during: async (engine, what, steps) => {
      before ??= await withoutDelta(engine, model, retained);
      const measured = await compileValidation(engine, model, retained, what);
      const every = options.every ?? Math.max(1, Math.floor(steps / 10));
      return {
        watch: {
          every,
          look: async (step, state) => {
            last = riseOf(before!, await measured.batches(state));
            if (isForgetting(last, limit) && !warned) {
              warned = true;
              warn(`⚠ step ${step}: ${said(last)}; --against replay, ewc, lwf or l2-sp hold it, a smaller --lr forgets less`);
            }
            return { loss: last.after, rise: last.rise };
          },
        },
        dispose: measured.dispose,
      };
    },
    monitor: (changed) =>
      last && {
        id: changed === "weights" ? "catastrophic-forgetting" : "interference",
        value: last.rise,
        threshold: limit,
        warning: isForgetting(last, limit),
        message: said(last),
      },
  };
}

/** The losses of the model as it was. */
async function withoutDelta(engine: Engine, model: Model, retained: ValidationSet): Promise<readonly MeasuredBatch[]> {
  const measured = await compileValidation(engine, model, retained, { learned: {} });
  try {
    return await measured.batches({ params: {}, buffers: buffersOf(model) });
  } finally {
    await measured.dispose();
  }
}

function said({ before, after, rise, standardError }: Rise): string {
  const sure = standardError > 0 ? ` ± ${standardError.toFixed(3)}` : "";
  return `what the model knew: loss ${before.toFixed(3)} before, ${after.toFixed(3)} now (${rise < 0 ? "" : "+"}${rise.toFixed(3)}${sure} nats)`;
}
