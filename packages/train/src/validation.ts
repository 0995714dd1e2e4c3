import { compile, f32, type HostTensor, hostTensor, inputKind, LfmError, type Model } from "@lfm/core";
import type { Validation } from "./fit.js";
import { modelTraining, type WhatLearns } from "./model-training.js";
import type { LearningTask } from "./task.js";
import type { TrainingState } from "./training.js";

/** Batches of examples that are only measured. */
export interface ValidationSet {
  readonly task: LearningTask;
  /** Batches, numbered from 0. Default: one epoch of the task. */
  readonly batches?: number;
}

/** Examples that are measured while something learns. */
export const validationInput = inputKind<ValidationSet>("validation");

/** The loss of one batch, and how much it counts. */
export interface MeasuredBatch {
  readonly loss: number;
  readonly weight: number;
}

/**
 * The loss of a state on validation examples, in eval mode: one session for the whole training, parameters bound late.
 * @throws {LfmError} CONFIG_INVALID for examples without an end
 */
export async function compileValidation(
  engine: Parameters<typeof compile>[0],
  model: Model,
  set: ValidationSet,
  what: WhatLearns,
): Promise<{
  readonly measure: Validation["measure"];
  /** The same batch by batch. */
  readonly batches: (state: Pick<TrainingState, "params" | "buffers">) => Promise<readonly MeasuredBatch[]>;
  dispose(): Promise<void>;
}> {
  const { task } = set;
  const count = set.batches ?? task.perEpoch;
  if (count === undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/train] the examples of "${task.name}" have no end: how many are validated?`, {
      hint: "say how many batches",
    });
  const { trainable, buffers, frozen, batch, loss } = modelTraining(model, task, what, "eval");
  const spec = (
    tensors: Readonly<Record<string, HostTensor>>,
  ): Record<string, { readonly dtype: HostTensor["dtype"]; readonly shape: readonly number[] }> =>
    Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const key = { dtype: "i32", shape: [] } as const;
  const f = await compile(
    engine,
    { params: spec(trainable), buffers: spec(buffers), batch, key, step: { dtype: "f32", shape: [] } },
    (inputs, rest) => {
      const found = loss({ ...rest, ...inputs.buffers, ...inputs.params }, inputs.batch, { key: inputs.key, step: inputs.step });
      return { loss: found.loss, ...(found.weight ? { weight: found.weight } : {}) };
    },
    { frozen },
  );
  const batches = async (state: Pick<TrainingState, "params" | "buffers">): Promise<readonly MeasuredBatch[]> => {
    const found: MeasuredBatch[] = [];
    for (let i = 0; i < count; i++) {
      const inputs = { params: state.params, buffers: state.buffers, batch: task.batches(i) };
      const out = await f({ ...inputs, key: hostTensor("i32", [], Int32Array.of(0)), step: f32([1], []) });
      found.push({ loss: Number(out.loss.data[0]), weight: out.weight ? Number(out.weight.data[0]) : 1 });
    }
    return found;
  };
  return { measure: async (state) => ({ loss: meanLoss(await batches(state)) }), batches, dispose: f.dispose };
}

/** The mean over batches by their weights; 0 where nothing counts, as a loss is. */
export function meanLoss(batches: readonly MeasuredBatch[]): number {
  const total = batches.reduce((sum, b) => sum + b.weight, 0);
  return total === 0 ? 0 : batches.reduce((sum, b) => sum + b.weight * b.loss, 0) / total;
}
