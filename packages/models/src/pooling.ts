import {
  dimSub,
  div,
  expandDims,
  LfmError,
  maximum,
  mean,
  mul,
  type Outputs,
  slice,
  sqrt,
  square,
  squeeze,
  sum,
  type Tensor,
} from "@lfm/core";

/** "mean" over the positions of the mask, "cls" the first token's last state, "pooler" what the model itself calls pooled. */
export type Pooling = "mean" | "cls" | "pooler";

/**
 * One vector per sequence f32[batch, hidden].
 * @param mask f32[batch, seq], for "mean": the tokens that count, default all; what prompts put in front never counts
 * @throws {LfmError} CAPABILITY_MISSING where the model gives no such thing
 */
export function pool(outputs: Outputs, pooling: Pooling, mask: Tensor | undefined): Tensor {
  if (pooling === "pooler") {
    if (!outputs.pooled) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model gives no pooled vector");
    return outputs.pooled;
  }
  if (!outputs.last) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model gives no last hidden state");
  if (pooling === "cls") return squeeze(slice(outputs.last, 1, outputs.prefix ?? 0, 1), 1);
  const prefix = outputs.prefix ?? 0;
  const own = slice(outputs.last, 1, prefix, dimSub(outputs.last.dim(1), prefix));
  if (!mask) return mean(own, 1);
  return div(sum(mul(own, expandDims(mask, 2)), 1), maximum(sum(mask, 1, { keepDims: true }), 1e-9));
}

/** x / max(‖x‖₂, 1e-12) over the last axis. */
export function unitLength(x: Tensor): Tensor {
  return div(x, maximum(sqrt(sum(square(x), -1, { keepDims: true })), 1e-12));
}
