/**
 * Algebra of task vectors (arXiv 2212.04089), over weights in memory: τ = θ − θ₀ of parameters that are floats, f32.
 * Learning several tasks is a sum, forgetting one a negation, "A is to B as C is to what" an analogy: τ_C + (τ_B − τ_A).
 */
import { type HostTensor, isFloatType, LfmError, loadWeight, type Weight, type Weights, widenToF32 } from "@lfm/core";
import { checkInputs } from "./inputs.js";

/** τ by parameter name, f32; parameters of integers are not in it. */
export type TaskVector = Readonly<Record<string, HostTensor>>;

/** θ − θ₀. @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH */
export function taskVector(base: Weights, tuned: Weights): TaskVector {
  checkInputs({ base, models: { tuned } }, true);
  return mapFloats(tuned, (name, values) => {
    const before = floats(base[name]!);
    return values.map((v, i) => v - before[i]!);
  });
}

/** Σ wᵢτᵢ, weights 1 by default. @throws {LfmError} CONFIG_INVALID, PARAM_NOT_FOUND, SHAPE_MISMATCH */
export function addTasks(vectors: readonly TaskVector[], weights: readonly number[] = vectors.map(() => 1)): TaskVector {
  if (weights.length !== vectors.length)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${weights.length} weights for ${vectors.length} task vectors`);
  checkInputs({ models: Object.fromEntries(vectors.map((v, i) => [`task vector ${i + 1}`, v])) }, false);
  return mapFloats(vectors[0]!, (name, values) => {
    const sum = new Float64Array(values.length);
    for (const [i, vector] of vectors.entries()) {
      const own = floats(vector[name]!);
      for (let j = 0; j < sum.length; j++) sum[j] = sum[j]! + weights[i]! * own[j]!;
    }
    return Float32Array.from(sum);
  });
}

/** −τ: to forget what the task taught. */
export function negateTask(vector: TaskVector): TaskVector {
  return addTasks([vector], [-1]);
}

/** τ_C + (τ_B − τ_A): what C would become, as A became B. */
export function analogousTask(a: TaskVector, b: TaskVector, c: TaskVector): TaskVector {
  return addTasks([c, b, a], [1, 1, -1]);
}

/** θ₀ + λτ, f32; integers are the base's. @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH */
export function applyTask(base: Weights, vector: TaskVector, lambda = 1): Record<string, HostTensor> {
  checkInputs({ base, models: { "task vector": vector } }, true);
  const merged = mapFloats(base, (name, values) => {
    if (!vector[name]) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] the task vector has no parameter "${name}", which the base has`);
    const step = floats(vector[name]);
    return values.map((v, i) => v + lambda * step[i]!);
  });
  return Object.fromEntries(Object.entries(base).map(([name, w]) => [name, merged[name] ?? loadWeight(w)]));
}

const floats = (w: Weight): Float32Array => widenToF32(loadWeight(w)).data as Float32Array;

function mapFloats(weights: Weights, f: (name: string, values: Float32Array) => Float32Array): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(weights)
      .filter(([, w]) => isFloatType(w.dtype))
      .map(([name, w]) => [name, { dtype: "f32", shape: w.shape, data: f(name, floats(w)) }]),
  );
}
