import type { TokenLogProb } from "./continuation.js";

/** log p of every token, f32[vocab]. logits — f32[vocab] */
export function logProbabilities(logits: Float32Array): Float32Array {
  const shift = logSumExp(logits);
  return logits.map((v) => v - shift);
}

/** log p of one token. */
export function logProbability(logits: Float32Array, token: number): number {
  return logits[token]! - logSumExp(logits);
}

/** The `count` most likely tokens, the most likely first, of equal ones the smaller. logProbs — f32[vocab] */
export function mostProbable(logProbs: Float32Array, count: number): TokenLogProb[] {
  const found: { token: number; logProb: number }[] = [];
  for (let token = 0; token < logProbs.length; token++) {
    const logProb = logProbs[token]!;
    if (count === 0 || (found.length === count && logProb <= found[count - 1]!.logProb)) continue;
    let at = found.length;
    while (at > 0 && found[at - 1]!.logProb < logProb) at--;
    found.splice(at, 0, { token, logProb });
    if (found.length > count) found.pop();
  }
  return found;
}

function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const v of logits) if (v > top) top = v;
  let sum = 0;
  for (const v of logits) sum += Math.exp(v - top);
  return top + Math.log(sum);
}
