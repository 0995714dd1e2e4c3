import { type HostTensor, LfmError } from "@lfm/core";
import type { Hit } from "@lfm/data";

export interface MmrOptions {
  /** How many are chosen; default all. */
  readonly k?: number;
  /** Weight of relevance against novelty, 0..1; 1 keeps the order by relevance. Default 0.5. */
  readonly lambda?: number;
}

/**
 * Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): one after the other, the hit with the largest λ·score − (1 − λ)·max cos(d, chosen) is
 * chosen; among equals the one that stood first. The score of each is what it was chosen by.
 * @param hits scores as cosines, for both terms to be of one kind @param vectors f32[hits, d], in the order of the hits
 * @throws {LfmError} SHAPE_MISMATCH, CONFIG_INVALID
 */
export function maximalMarginalRelevance(hits: readonly Hit[], vectors: HostTensor, options: MmrOptions = {}): Hit[] {
  const { k = hits.length, lambda = 0.5 } = options;
  if (!(lambda >= 0 && lambda <= 1)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] lambda must be in 0..1, got ${lambda}`);
  if (vectors.shape.length !== 2 || vectors.shape[0] !== hits.length)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/retrieval] ${hits.length} hits need as many vectors, got [${vectors.shape.join(", ")}]`);
  const d = vectors.shape[1]!;
  const rows = hits.map((_, i) => Array.from(vectors.data.slice(i * d, (i + 1) * d), Number));
  const lengths = rows.map((row) => Math.hypot(...row));
  const cosine = (a: number, b: number): number => {
    const product = rows[a]!.reduce((sum, value, j) => sum + value * rows[b]![j]!, 0);
    return lengths[a]! * lengths[b]! > 0 ? product / (lengths[a]! * lengths[b]!) : 0;
  };
  // The nearest of those chosen; nothing is near before the first.
  const nearest = hits.map(() => Number.NEGATIVE_INFINITY);
  const left = new Set(hits.keys());
  const chosen: Hit[] = [];
  while (chosen.length < Math.min(k, hits.length)) {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const i of left) {
      const score = lambda * hits[i]!.score - (chosen.length === 0 ? 0 : (1 - lambda) * nearest[i]!);
      if (best >= 0 && score <= bestScore) continue;
      best = i;
      bestScore = score;
    }
    left.delete(best);
    chosen.push({ id: hits[best]!.id, score: bestScore });
    for (const i of left) nearest[i] = Math.max(nearest[i]!, cosine(i, best));
  }
  return chosen;
}
