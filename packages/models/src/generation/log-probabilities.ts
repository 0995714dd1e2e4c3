/** log p of every token, f32[vocab]. logits — f32[vocab] */
export function logProbabilities(logits: Float32Array): Float32Array {
  const shift = logSumExp(logits);
  return logits.map((v) => v - shift);
}

/** log p of one token. */
export function logProbability(logits: Float32Array, token: number): number {
  return logits[token]! - logSumExp(logits);
}

function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const v of logits) if (v > top) top = v;
  let sum = 0;
  for (const v of logits) sum += Math.exp(v - top);
  return top + Math.log(sum);
}
