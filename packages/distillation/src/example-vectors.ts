import { div, expandDims, LfmError, type Model, maximum, mean, mul, type Outputs, reshape, slice, sum, type Tensor } from "@lfm/core";
import { traced } from "./places.js";
import { countedPositions, type Reads } from "./positions.js";

/**
 * One vector for each example, f32[batch, d]: what the model pools, or the mean of the last states that count.
 * @throws {LfmError} CAPABILITY_MISSING for a model that gives neither
 */
export function exampleVectors({ pooled, last, prefix = 0 }: Outputs, task: Reads, batch: Readonly<Record<string, Tensor>>): Tensor {
  if (pooled) return pooled;
  if (!last) throw new LfmError("CAPABILITY_MISSING", "[@lfm/distillation] the model gives neither a pooled vector nor states");
  if (last.rank === 2) return last;
  const { tokens } = task.input(batch);
  const own = tokens && prefix !== 0 ? slice(last, 1, prefix, tokens.dim(1)) : last;
  const mask = countedPositions(task, batch)?.mask;
  if (!mask) return mean(own, 1);
  return div(sum(mul(own, expandDims(mask, 2)), 1), reshape(maximum(sum(mask, 1), 1e-8), [mask.dim(0), 1]));
}

/** Width of {@link exampleVectors}. */
export function exampleWidth(model: Model, task: Reads): number {
  const { outputs, batch } = traced(model, task);
  const width = exampleVectors(outputs, task, batch).dim(-1);
  if (typeof width === "number") return width;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] the width of what ${model.info.architecture} makes of an example is not known`);
}
