import type { Rng } from "@lfm/core";
import { kernels } from "./kernels.js";
import type { Threshold } from "./radix-select.js";
import { type Sparsifier, sparsifier } from "./sparse-task-vectors.js";

/** Keeps the entries of a run that the threshold names, zeroes the others, in place. Called on runs in the order of the tensor: `left` counts down. */
export function keepLargest(values: Float32Array, threshold: Threshold, left: { equal: number }): void {
  left.equal = kernels().fn.keepAbove(values.byteOffset, values.length, threshold.limit, left.equal);
}

/** Draws which entries of one model's tensor stay; whether an entry stays depends on the keys and its place only. */
export interface RandomMask {
  readonly keys: readonly [number, number];
  /** Share that stays, in [0, 1). */
  readonly density: number;
}

export function randomMask(rng: Rng, density: number): RandomMask {
  return { keys: [rng.uint32(), rng.uint32()], density };
}

/** Drops what the masks drop, for each model its own; without one everything stays. */
export function randomSparsifier(masks: readonly (RandomMask | undefined)[]): Sparsifier {
  const { fn } = kernels();
  const dense = sparsifier(() => {});
  // Chances next to 1 must not round to 2³², which is 0 in 32 bits.
  const limits = masks.map((mask) => Math.min(Math.round((mask?.density ?? 1) * 2 ** 32), 2 ** 32 - 1));
  return {
    thin: (values, base, model, start) => {
      const mask = masks[model];
      if (!mask) dense.thin(values, base, model, start);
      else fn.dropRandom(values.byteOffset, base.byteOffset, values.length, start, mask.keys[0], mask.keys[1], limits[model]!);
    },
    norms: (values, base, model, start) => {
      const mask = masks[model];
      if (!mask) return dense.norms(values, base, model, start);
      const before = fn.sumDropped(values.byteOffset, base.byteOffset, values.length, start, mask.keys[0], mask.keys[1], limits[model]!);
      return [before, fn.sumKept.value];
    },
  };
}
