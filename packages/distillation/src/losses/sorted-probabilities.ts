import { abs, type Dim, LfmError, mul, pad, softmax, sub, sum, type Tensor, topK } from "@lfm/core";
import { weightedMean } from "@lfm/train";

/**
 * Distance of two distributions over different vocabularies (arXiv 2402.12030 eq. 6): Σ |p₍ᵢ₎ − q₍ᵢ₎| of the probabilities in falling order, the
 * shorter vocabulary filled up with 0. Which token has a probability plays no part. Mean over items by their weights.
 * @param teacher logits f32[n, vocab], student — f32[n, vocab']
 * @param weights f32[n]
 */
export function sortedProbabilityLoss(teacher: Tensor, student: Tensor, temperature = 1, weights?: Tensor): Tensor {
  const [t, s] = [falling(teacher, temperature), falling(student, temperature)];
  const [a, b] = [sizeOf(t), sizeOf(s)];
  const filled = (x: Tensor, size: number): Tensor => (size < Math.max(a, b) ? pad(x, x.rank - 1, 0, Math.max(a, b) - size) : x);
  return weightedMean(sum(abs(sub(filled(t, a), filled(s, b))), -1), weights);
}

function falling(logits: Tensor, temperature: number): Tensor {
  const p = softmax(mul(logits, 1 / temperature));
  return topK(p, sizeOf(p)).values;
}

function sizeOf(x: Tensor): number {
  const size: Dim = x.dim(-1);
  if (typeof size === "number") return size;
  throw new LfmError("INTERNAL", "[@lfm/distillation] the size of a vocabulary is known");
}
