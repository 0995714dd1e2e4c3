import { type Delta, LfmError, type Weights } from "@lfm/core";
import type { Statistics } from "@lfm/statistics";

export interface MergeInputs {
  /** The model all others were tuned from. Averages do not need it. */
  readonly base?: Weights;
  /** Models to merge, by name; equal parameter names and shapes. */
  readonly models: Readonly<Record<string, Weights>>;
  /** Statistics of each model, by its name, for methods that weigh by them. */
  readonly statistics?: Readonly<Record<string, Statistics>>;
  /** Hash of the base, recorded in the delta. */
  readonly parent?: string;
}

export interface MergeOutput {
  /**
   * Replaces parameters of the base, or of the first model where no base is needed: f32, under their names; tensors of integers as in the base
   * (or the first model).
   */
  readonly delta: Delta;
}

/** Every model must have the same parameters. @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH, CONFIG_INVALID */
export function checkInputs(inputs: MergeInputs, needsBase: boolean): MergeInputs {
  const entries = Object.entries(inputs.models);
  if (entries.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] nothing to merge: give at least one model");
  if (needsBase && !inputs.base)
    throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] this method works on task vectors: it needs the base model", {
      hint: "add base_model",
    });
  const [firstName, first] = entries[0]!;
  const all = inputs.base ? [...entries, ["base", inputs.base] as const] : entries;
  for (const [who, weights] of all) {
    for (const [name, w] of Object.entries(first)) {
      const other = weights[name];
      if (!other) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${who}" has no parameter "${name}", which "${firstName}" has`);
      if (other.shape.length !== w.shape.length || other.shape.some((d, i) => d !== w.shape[i])) {
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] "${name}" is [${w.shape}] in "${firstName}" but [${other.shape}] in "${who}"`);
      }
    }
    const extra = Object.keys(weights).find((name) => !(name in first));
    if (extra !== undefined && who !== "base")
      throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${firstName}" has no parameter "${extra}", which "${who}" has`);
  }
  return inputs;
}
