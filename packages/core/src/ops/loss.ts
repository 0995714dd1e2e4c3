/** Losses, composed of primitives. All return f32[] means unless said otherwise. */
import type { Tensor } from "../tensor.js";
import { relu, softplus } from "./activations.js";
import { abs, add, cast, div, greaterEqual, maximum, mul, neg, square, sub, where } from "./elementwise.js";
import { gatherElements } from "./index-ops.js";
import { expandDims, squeeze } from "./movement.js";
import { logSoftmax, softmax } from "./norm.js";
import { mean, sum } from "./reduce.js";

/** Labels with this value never count. */
export const IGNORE_INDEX = -100;

/**
 * −log p(label), per position.
 * @param logits f32[..., classes]; @param labels i32[...]; IGNORE_INDEX gives 0
 * @returns f32[...]
 */
export function crossEntropyPerItem(logits: Tensor, labels: Tensor): Tensor {
  const counted = greaterEqual(labels, 0);
  const safe = where(counted, labels, 0);
  const picked = squeeze(gatherElements(logSoftmax(logits), expandDims(safe, -1), -1), -1);
  return where(counted, neg(picked), 0);
}

/**
 * Mean of −log p(label) over the labels that count, or weighted mean.
 * @param weights f32 like labels; default 1 for every label ≥ 0
 */
export function crossEntropy(logits: Tensor, labels: Tensor, weights?: Tensor): Tensor {
  const losses = crossEntropyPerItem(logits, labels);
  const w = weights ?? cast(greaterEqual(labels, 0), "f32");
  return div(sum(mul(losses, w)), maximum(sum(w), 1e-8));
}

/** Mean squared difference. */
export function meanSquaredError(a: Tensor, b: Tensor): Tensor {
  return mean(square(sub(a, b)));
}

/** Mean of −y·log σ(x) − (1−y)·log(1−σ(x)), stable for large |x|. */
export function binaryCrossEntropy(logits: Tensor, targets: Tensor): Tensor {
  return mean(add(sub(relu(logits), mul(logits, targets)), softplus(neg(abs(logits)))));
}

/** Σ p·(log p − log q) per item of the leading axes, from logits: KL(p ‖ q). */
export function klDivergence(pLogits: Tensor, qLogits: Tensor): Tensor {
  return sum(mul(softmax(pLogits), sub(logSoftmax(pLogits), logSoftmax(qLogits))), -1);
}

/** −Σ p·log p over the last axis, from logits. */
export function entropy(logits: Tensor): Tensor {
  return neg(sum(mul(softmax(logits), logSoftmax(logits)), -1));
}
