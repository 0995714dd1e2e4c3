import {
  add,
  cast,
  concat,
  dimSub,
  div,
  expandDims,
  full,
  iota,
  LfmError,
  max,
  maximum,
  mul,
  type Outputs,
  slice,
  sqrt,
  square,
  squeeze,
  sub,
  sum,
  type Tensor,
} from "@lfm/core";
import { rowsAt } from "./rows-at.js";

/**
 * "mean" over the tokens of the mask, "cls" the first token's last state, "last-token" the last one's, "max" the largest of each dimension,
 * "mean-sqrt-len" the sum over the root of the number of tokens, "weighted-mean" the mean where the n-th token counts n times, as
 * sentence-transformers (6) has them; "pooler" what the model itself calls pooled.
 */
export type Pooling = "mean" | "cls" | "max" | "mean-sqrt-len" | "weighted-mean" | "last-token" | "pooler";

/**
 * One vector per sequence f32[batch, hidden]; of several poolings their vectors side by side, f32[batch, poolings · hidden].
 * @param mask f32[batch, seq], padded on the right: the tokens that count, default all; what prompts put in front never counts
 * @throws {LfmError} CAPABILITY_MISSING where the model gives no such thing
 */
export function pool(outputs: Outputs, pooling: Pooling | readonly Pooling[], mask: Tensor | undefined): Tensor {
  if (typeof pooling === "string") return poolOne(outputs, pooling, mask);
  return concat(
    pooling.map((p) => poolOne(outputs, p, mask)),
    1,
  );
}

function poolOne(outputs: Outputs, pooling: Pooling, mask: Tensor | undefined): Tensor {
  if (pooling === "pooler") {
    if (!outputs.pooled) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model gives no pooled vector");
    return outputs.pooled;
  }
  if (!outputs.last) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model gives no last hidden state");
  const prefix = outputs.prefix ?? 0;
  const seq = dimSub(outputs.last.dim(1), prefix);
  const own = slice(outputs.last, 1, prefix, seq);
  const counts = mask ?? full([own.dim(0), seq], 1);
  const weighted = (weights: Tensor): Tensor => sum(mul(own, expandDims(weights, 2)), 1);
  const total = (weights: Tensor): Tensor => maximum(sum(weights, 1, { keepDims: true }), 1e-9);
  switch (pooling) {
    case "cls":
      return squeeze(slice(own, 1, 0, 1), 1);
    case "last-token":
      return squeeze(rowsAt(own, sub(cast(sum(counts, 1), "i32"), 1), seq), 1);
    case "max":
      return max(add(own, expandDims(mul(sub(counts, 1), 1e9), 2)), 1);
    case "mean":
      return div(weighted(counts), total(counts));
    case "mean-sqrt-len":
      return div(weighted(counts), sqrt(total(counts)));
    case "weighted-mean": {
      const places = mul(counts, expandDims(add(cast(iota(seq), "f32"), 1), 0));
      return div(weighted(places), total(places));
    }
  }
}

/** x / max(‖x‖₂, 1e-12) over the last axis. */
export function unitLength(x: Tensor): Tensor {
  return div(x, maximum(sqrt(sum(square(x), -1, { keepDims: true })), 1e-12));
}
