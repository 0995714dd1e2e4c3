import { LfmError } from "@lfm/core";
import type { GenerateOptions, Step } from "./generate-options.js";

/**
 * Lets `adjust` change the logits f32[vocab] of the next token.
 * @returns whether it leaves any token to go on with
 * @throws {LfmError} CONFIG_INVALID for logits that are NaN or +∞ then: no log p can be taken of them
 */
export async function adjustLogits(logits: Float32Array, step: Step, adjust: NonNullable<GenerateOptions["adjust"]>): Promise<boolean> {
  await adjust(logits, step);
  let allowed = false;
  for (let token = 0; token < logits.length; token++) {
    const value = logits[token]!;
    if (!(value < Number.POSITIVE_INFINITY))
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/models] generate: adjust makes the logit of token ${token} ${value} ${at(step.sequence, step.tokens.length)}`,
      );
    if (value > Number.NEGATIVE_INFINITY) allowed = true;
  }
  return allowed;
}

/** What is said where no token is left. @param done new tokens so far */
export function nothingAllowed(sequence: number, done: number): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/models] generate: adjust forbids every token ${at(sequence, done)}`, {
    hint: "leave one token above −∞, an end-of-text token where nothing else may come",
  });
}

function at(sequence: number, done: number): string {
  return `after ${done} new tokens of prompt ${sequence}`;
}
