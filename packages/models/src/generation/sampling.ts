import type { Rng } from "@lfm/core";

export interface SamplingOptions {
  /** Divides the logits; 0 is greedy. Default 1 where topK, topP or minP is given, otherwise 0. */
  readonly temperature?: number;
  /** Only the k most likely tokens. */
  readonly topK?: number;
  /** Only the fewest most likely tokens whose probabilities reach p (nucleus sampling, arXiv 1904.09751), 0 < p ≤ 1. */
  readonly topP?: number;
  /** Only tokens whose probability is at least this share of the most likely one's (arXiv 2407.01082), 0..1. */
  readonly minP?: number;
}

/** Index of the largest value; the first of equal ones. */
export function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** True when these options always take the most likely token. */
export function isGreedy(o: SamplingOptions): boolean {
  return (o.temperature ?? (o.topK === undefined && o.topP === undefined && o.minP === undefined ? 0 : 1)) === 0;
}

/**
 * A token drawn from softmax(logits / temperature), cut to the k most likely, to the nucleus p and to minP, as transformers
 * orders them.
 * @param logits f32[vocab]
 */
export function sampleToken(logits: Float32Array, o: SamplingOptions, rng: Rng): number {
  if (isGreedy(o)) return largest(logits);
  const temperature = o.temperature ?? 1;
  const full = o.topK === undefined && o.topP === undefined && o.minP === undefined;
  const kept = full ? undefined : mostLikely(logits, o.topK ?? logits.length);
  const count = kept?.length ?? logits.length;
  const at = (i: number): number => (kept ? kept[i]! : i);
  const top = logits[kept ? kept[0]! : largest(logits)]!;
  const weights = new Float64Array(count);
  let total = 0;
  for (let i = 0; i < count; i++) {
    weights[i] = Math.exp((logits[at(i)]! - top) / temperature);
    total += weights[i]!;
  }
  let end = count;
  if (o.topP !== undefined && o.topP < 1) {
    const wanted = o.topP * total;
    let reached = 0;
    end = 0;
    do reached += weights[end++]!;
    while (end < count && reached < wanted);
    total = reached;
  }
  // The first of them is the most likely: its weight is 1.
  while (o.minP !== undefined && weights[end - 1]! < o.minP) total -= weights[--end]!;
  let mark = rng.uniform() * total;
  for (let i = 0; i < end; i++) {
    mark -= weights[i]!;
    if (mark < 0) return at(i);
  }
  return at(end - 1);
}

/** Indices of the k largest values, largest first. */
export function mostLikely(logits: Float32Array, k: number): Uint32Array {
  const all = Uint32Array.from(logits, (_, i) => i);
  const byValue = (a: number, b: number): number => logits[b]! - logits[a]! || a - b;
  if (k >= logits.length) return all.sort(byValue);
  // the k-th value first, so that only those at or above it are sorted
  const limit = Float32Array.from(logits).sort()[logits.length - k]!;
  return all
    .filter((i) => logits[i]! >= limit)
    .sort(byValue)
    .subarray(0, k);
}
