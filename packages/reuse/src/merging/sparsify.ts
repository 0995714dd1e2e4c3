import type { Rng } from "@lfm/core";
import { kernels } from "./kernels.js";
import type { Threshold } from "./radix-select.js";

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

/** Zeroes what the mask drops, in place. `start` is the place of the first value in its tensor. */
export function dropRandomly(values: Float32Array, start: number, { keys, density }: RandomMask): void {
  // Chances next to 1 must not round to 2³², which is 0 in 32 bits.
  kernels().fn.keepRandom(values.byteOffset, values.length, start, keys[0], keys[1], Math.min(Math.round(density * 2 ** 32), 2 ** 32 - 1));
}
