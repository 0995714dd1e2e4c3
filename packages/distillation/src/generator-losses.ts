/** What a generator of training images is asked for, one scalar each, to be made small. Logits are f32[batch, classes] of the teacher. */
import {
  abs,
  add,
  argMax,
  crossEntropy,
  type Hook,
  log,
  maximum,
  mean,
  mul,
  neg,
  type Site,
  slice,
  softmax,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
  variance,
} from "@lfm/core";

/** DAFL eq. 2: cross entropy of the teacher's output against its own argmax; small where the teacher is sure. */
export function oneHotLoss(logits: Tensor): Tensor {
  return crossEntropy(logits, argMax(logits));
}

/** DAFL eq. 3: −mean|f| over the teacher's last features f32[batch, d], as the authors' code takes the mean for the L1 norm. */
export function activationLoss(features: Tensor): Tensor {
  return neg(mean(abs(features)));
}

/** DAFL eq. 4 plus the constant log(classes): negative entropy of the mean output; 0 where all classes are equally common in the batch. */
export function balanceLoss(logits: Tensor): Tensor {
  const share = mean(softmax(logits), 0);
  return add(sum(mul(share, log(maximum(share, 1e-8)))), Math.log(logits.dim(-1) as number));
}

/**
 * A hook that collects, at every batch-norm site of the teacher, how far the batch's statistics are from the running ones
 * (arXiv 1912.08795 eq. 4, with mean squares over channels in place of norms, so that wide layers do not outweigh narrow ones).
 * @param running the running mean and variance f32[channels] of a site; undefined where it has none
 */
export function batchNormHook(
  running: (site: Site) => { readonly mean: Tensor; readonly variance: Tensor } | undefined,
  into: Tensor[],
): Hook {
  return {
    matches: (site) => site.kind === "norm" && running(site) !== undefined,
    input: (x, site) => {
      const axes = x.rank === 4 ? [0, 2, 3] : [0];
      const target = running(site)!;
      into.push(add(mean(square(sub(mean(x, axes), target.mean))), mean(square(sub(variance(x, axes), target.variance)))));
      return x;
    },
  };
}

/** Mean |t − s| over batch and classes (arXiv 1912.11006): its gradient does not fade where both are confident, as that of KL does. */
export function logitDistance(teacher: Tensor, student: Tensor): Tensor {
  return mean(abs(sub(teacher, student)));
}

/** Mean square of the differences of pixels to those on their right, and to those below them. x — f32[n, channels, height, width] */
export function totalVariation(x: Tensor): Tensor {
  const along = (axis: 2 | 3): Tensor => {
    const n = x.dim(axis) as number;
    return mean(square(sub(slice(x, axis, 1, n - 1), slice(x, axis, 0, n - 1))));
  };
  return add(along(2), along(3));
}

/** The same tree as constants: gradients stop at it. */
export function constants(params: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(params).map(([name, t]) => [name, stopGradient(t)]));
}
