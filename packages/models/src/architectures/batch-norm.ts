import { add, dimMul, dimScalar, div, mean, mul, type ParamTree, reshape, rsqrt, sub, type Tensor, variance } from "@lfm/core";
import { param } from "../sites.js";

export interface BatchNormOptions {
  /** Share of the batch in new running statistics. */
  readonly momentum: number;
  readonly epsilon: number;
}

/** torch's BatchNorm2d. */
export const torchBatchNorm: BatchNormOptions = { momentum: 0.1, epsilon: 1e-5 };

/**
 * Over batch, height and width. Train mode uses the batch and returns new running statistics (variance unbiased, as torch) in
 * `buffers`. x — f32[batch, channels, height, width]; parameters and statistics f32[channels] under `path`.
 */
export function batchNorm(
  x: Tensor,
  path: string,
  params: ParamTree,
  c: BatchNormOptions,
  mode: "train" | "eval",
  buffers: Record<string, Tensor>,
): Tensor {
  const shape = [1, x.dim(1), 1, 1];
  const get = (name: string): Tensor => param(params, `${path}.${name}`);
  let [mu, v] = [get("running_mean"), get("running_var")];
  if (mode === "train") {
    const [batchMean, batchVar] = [mean(x, [0, 2, 3]), variance(x, [0, 2, 3])];
    // torch's running variance has the divisor n − 1 with n = batch·height·width
    const n = dimScalar(dimMul(x.dim(0), (x.dim(2) as number) * (x.dim(3) as number)));
    const unbiased = mul(batchVar, div(n, sub(n, 1)));
    buffers[`${path}.running_mean`] = add(mul(mu, 1 - c.momentum), mul(batchMean, c.momentum));
    buffers[`${path}.running_var`] = add(mul(v, 1 - c.momentum), mul(unbiased, c.momentum));
    [mu, v] = [batchMean, batchVar];
  }
  const scale = mul(get("weight"), rsqrt(add(v, c.epsilon)));
  return add(mul(x, reshape(scale, shape)), reshape(sub(get("bias"), mul(mu, scale)), shape));
}
