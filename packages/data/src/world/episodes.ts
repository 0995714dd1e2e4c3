import { f32, type HostTensor, i32, LfmError, type Rng } from "@lfm/core";

/** A few-shot task: a small support set to learn from and queries to answer. Classes are numbered 0 … ways − 1 within it. */
export interface ClassEpisode {
  /** f32[ways · shots, ...item] and i32[ways · shots], class by class. */
  readonly support: { readonly x: HostTensor; readonly labels: HostTensor };
  /** f32[ways · queries, ...item] and i32[ways · queries], class by class. */
  readonly query: { readonly x: HostTensor; readonly labels: HostTensor };
}

export interface EpisodeSize {
  readonly ways: number;
  /** Examples of a class to learn from. */
  readonly shots: number;
  /** Examples of a class to answer. */
  readonly queries: number;
}

/** Where images of a class come from: how many there are and how to get one. */
export interface ClassPool {
  readonly count: number;
  item(index: number): Float32Array;
}

/**
 * Draws `ways` classes and, of each, `shots + queries` different items.
 * @throws {LfmError} CONFIG_INVALID when there are too few classes or items
 */
export function drawEpisode(pools: readonly ClassPool[], itemShape: readonly number[], size: EpisodeSize, rng: Rng): ClassEpisode {
  const { ways, shots, queries } = size;
  const fit = pools.filter((pool) => pool.count >= shots + queries);
  if (fit.length < ways) {
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/data] an episode of ${ways} ways, ${shots} shots, ${queries} queries: ${fit.length} classes are large enough`,
      {
        hint: `give ${ways} classes at least ${shots + queries} examples each, or ask for fewer: --ways ${Math.max(2, fit.length)} --shots 1`,
        details: { ways, shots, queries, classes: pools.length, largeEnough: fit.length },
      },
    );
  }
  const chosen = rng.sample(fit, ways).map((pool) => {
    const indices = new Set<number>();
    while (indices.size < shots + queries) indices.add(rng.int(pool.count));
    return [...indices].map((index) => pool.item(index));
  });
  const part = (from: number, count: number): { x: HostTensor; labels: HostTensor } => {
    const width = itemShape.reduce((a, b) => a * b, 1);
    const x = new Float32Array(ways * count * width);
    const labels = new Int32Array(ways * count);
    chosen.forEach((items, k) => {
      for (let i = 0; i < count; i++) {
        x.set(items[from + i]!, (k * count + i) * width);
        labels[k * count + i] = k;
      }
    });
    return { x: f32(x, [ways * count, ...itemShape]), labels: i32(labels, [ways * count]) };
  };
  return { support: part(0, shots), query: part(shots, queries) };
}
