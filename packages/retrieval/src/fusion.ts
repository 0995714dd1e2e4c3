import { LfmError } from "@lfm/core";
import type { Hit, Run } from "@lfm/data";

/**
 * Reciprocal rank fusion: score(d) = Σ_runs 1 / (k + rank(d)), rank from 1, nothing for a run that does not have d.
 * @param k 60 in Cormack, Clarke, Büttcher, SIGIR 2009
 */
export function reciprocalRankFusion(runs: readonly Run[], k = 60): Run {
  return fuse(runs, (hits) => new Map(hits.map(({ id }, i) => [id, 1 / (k + i + 1)])));
}

/**
 * Convex combination: score(d) = α·s̃₁(d) + (1 − α)·s̃₂(d), s̃ the scores of a query scaled to 0..1 by their least and largest;
 * 0 for a run that does not have d (arXiv 2210.11934). A run whose scores are all equal gives 1 to each.
 * @param alpha weight of the first run, 0..1 @throws {LfmError} CONFIG_INVALID
 */
export function convexFusion(first: Run, second: Run, alpha = 0.5): Run {
  if (!(alpha >= 0 && alpha <= 1)) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] convex fusion needs alpha in 0..1, got ${alpha}`);
  const weights = [alpha, 1 - alpha];
  return fuse([first, second], (hits, run) => {
    const scores = hits.map((hit) => hit.score);
    const least = Math.min(...scores);
    const range = Math.max(...scores) - least;
    return new Map(hits.map(({ id, score }) => [id, weights[run]! * (range > 0 ? (score - least) / range : 1)]));
  });
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
