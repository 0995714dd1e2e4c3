import { LfmError } from "@lfm/core";
import type { Hit, Run } from "@lfm/data";

/**
 * Reciprocal rank fusion: score(d) = Σ_runs w / (k + rank(d)), rank from 1, nothing for a run that does not have d.
 * @param k 60 in Cormack, Clarke, Büttcher, SIGIR 2009 @param weights one a run, default 1 each @throws {LfmError} CONFIG_INVALID
 */
export function reciprocalRankFusion(runs: readonly Run[], k = 60, weights?: readonly number[]): Run {
  const w = checkedWeights(runs, weights ?? runs.map(() => 1));
  return fuse(runs, (hits, run) => new Map(hits.map(({ id }, i) => [id, w[run]! / (k + i + 1)])));
}

/** How scores of different searches are made comparable, by query. */
export const scalings = ["min-max", "standard", "none"] as const;
/** "min-max": to 0..1 by the least and largest; "standard": mean 0, deviation 1; "none": as they are. */
export type Scaling = (typeof scalings)[number];

/**
 * Weighted sum of scores: score(d) = Σ_runs w·s̃(d), s̃ the scores of a query scaled; 0 for a run that does not have d (arXiv 2210.11934). A run whose
 * scores are all equal gives 1 to each by min-max, 0 by standard.
 * @param weights one a run @throws {LfmError} CONFIG_INVALID
 */
export function weightedFusion(runs: readonly Run[], weights: readonly number[], scaling: Scaling = "min-max"): Run {
  const w = checkedWeights(runs, weights);
  return fuse(runs, (hits, run) => {
    const scaled = SCALERS[scaling](hits.map((hit) => hit.score));
    return new Map(hits.map(({ id }, i) => [id, w[run]! * scaled[i]!]));
  });
}

/** The weighted sum of two runs, scaled to 0..1. @param alpha weight of the first run, 0..1 @throws {LfmError} CONFIG_INVALID */
export function convexFusion(first: Run, second: Run, alpha = 0.5): Run {
  if (!(alpha >= 0 && alpha <= 1)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] convex fusion needs alpha in 0..1, got ${alpha}`);
  return weightedFusion([first, second], [alpha, 1 - alpha]);
}

const SCALERS: Readonly<Record<Scaling, (scores: readonly number[]) => readonly number[]>> = {
  none: (scores) => scores,
  "min-max": (scores) => {
    const least = Math.min(...scores);
    const range = Math.max(...scores) - least;
    return scores.map((score) => (range > 0 ? (score - least) / range : 1));
  },
  standard: (scores) => {
    const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
    const deviation = Math.sqrt(scores.reduce((sum, s) => sum + (s - mean) ** 2, 0) / scores.length);
    return scores.map((score) => (deviation > 0 ? (score - mean) / deviation : 0));
  },
};

function checkedWeights(runs: readonly Run[], weights: readonly number[]): readonly number[] {
  if (weights.length !== runs.length || !weights.every((w) => Number.isFinite(w) && w >= 0))
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/retrieval] fusion of ${runs.length} runs needs as many weights of 0 or more, got ${weights.join(", ")}`,
    );
  return weights;
}

/** Sums the parts of all runs; best first, ties by id. */
function fuse(runs: readonly Run[], parts: (hits: readonly Hit[], run: number) => ReadonlyMap<string, number>): Run {
  const fused = new Map<string, Hit[]>();
  for (const query of new Set(runs.flatMap((run) => [...run.keys()]))) {
    const scores = new Map<string, number>();
    for (const [i, run] of runs.entries()) {
      for (const [id, part] of parts(run.get(query) ?? [], i)) scores.set(id, (scores.get(id) ?? 0) + part);
    }
    const hits = [...scores].map(([id, score]) => ({ id, score }));
    fused.set(
      query,
      hits.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1)),
    );
  }
  return fused;
}
