/** Losses, composed of primitives. All return f32[] means unless said otherwise. */
import type { Tensor } from "../tensor.js";
import { relu, softplus } from "./activations.js";
import { crossEntropyPerItem } from "./cross-entropy.js";
import { abs, add, cast, div, greaterEqual, maximum, mul, neg, square, sub } from "./elementwise.js";
import { logSoftmax, softmax } from "./norm.js";
import { mean, sum } from "./reduce.js";

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
