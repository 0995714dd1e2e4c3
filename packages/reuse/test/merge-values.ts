import { f32, type HostTensor, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import type { MergeMethod } from "../src/merging/merge-method.js";

export interface ValuesToMerge {
  readonly base?: ArrayLike<number>;
  readonly models: readonly ArrayLike<number>[];
  /** Default: a vector. */
  readonly shape?: readonly number[];
  readonly config?: Readonly<Record<string, unknown>>;
  readonly preset?: string;
  readonly seed?: number;
}

/** Merges one tensor, called `w`, of models 0, 1, … */
export async function mergeValues(method: MergeMethod, given: ValuesToMerge): Promise<Float32Array> {
  const weights = (values: ArrayLike<number>): Record<string, HostTensor> => ({
    w: f32([...Array.from(values)], given.shape ?? [values.length]),
  });
  const context: MethodContext = {
    engine: referenceEngine(),
    rng: new Rng(given.seed ?? 0),
    access: needs,
    log: () => {},
    progress: () => {},
  };
  const inputs = {
    models: Object.fromEntries(given.models.map((m, i) => [`${i}`, weights(m)])),
    ...(given.base ? { base: weights(given.base) } : {}),
  };
  const params = (await runMethod(method, inputs, given.config ?? {}, context, given.preset)).delta.tensors;
  return params.w!.data as Float32Array;
}

export const gaussian = (seed: number, n: number, std = 1): Float32Array => new Rng(seed).normalArray(n, std);

/** A model near its base, as a fine-tune is. */
export function tuned(base: Float32Array, seed: number, std = 0.1): Float32Array {
  const step = gaussian(seed, base.length, std);
  return base.map((v, i) => v + step[i]!);
}

export const norm = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));
