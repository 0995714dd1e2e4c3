import {
  add,
  type HostTensor,
  LfmError,
  loadWeight,
  type Model,
  matmul,
  type ParamTree,
  reshape,
  type Tensor,
  trainableParams,
  type Weights,
  widenToF32,
} from "@lfm/core";
import { checkInputs } from "../inputs.js";

/** Task vectors τᵢ = θᵢ − θ₀ of several models, parameter by parameter, side by side, so that Σ λᵢτᵢ is one product. */
export interface TaskVectorStack {
  /** Parameters that any model changed, in the order of the base model. */
  readonly names: readonly string[];
  /** f32, of the shape of the parameter. */
  readonly base: Readonly<Record<string, HostTensor>>;
  /** f32[models, elements] by the name of the parameter. */
  readonly vectors: Readonly<Record<string, HostTensor>>;
}

/**
 * Task vectors of all trainable parameters. Those that no model changed are left out: no coefficient matters there.
 * @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH, CONFIG_INVALID
 */
export function stackTaskVectors(model: Model, models: Readonly<Record<string, Weights>>): TaskVectorStack {
  const base = trainableParams(model);
  const own = Object.keys(base);
  const chosen = Object.fromEntries(
    Object.entries(models).map(([who, weights]) => [who, Object.fromEntries(own.map((n) => [n, present(weights, n, who)]))]),
  );
  checkInputs({ base, models: chosen }, true);
  const all = Object.values(chosen);
  const vectors: Record<string, HostTensor> = {};
  for (const name of own) {
    const origin = base[name]!.data as Float32Array;
    const stack = new Float32Array(all.length * origin.length);
    let changed = false;
    for (const [i, weights] of all.entries()) {
      const tuned = widenToF32(loadWeight(weights[name]!)).data as Float32Array;
      for (let j = 0; j < origin.length; j++) {
        const d = tuned[j]! - origin[j]!;
        stack[i * origin.length + j] = d;
        changed ||= d !== 0;
      }
    }
    if (changed) vectors[name] = { dtype: "f32", shape: [all.length, origin.length], data: stack };
  }
  const names = Object.keys(vectors);
  if (names.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] every model equals the base: there is nothing to merge");
  return { names, base: Object.fromEntries(names.map((n) => [n, base[n]!])), vectors };
}

function present(weights: Weights, name: string, who: string): Weights[string] {
  const found = weights[name];
  if (!found) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${who}" has no parameter "${name}", which the base has`);
  return found;
}

/** θ₀ + Σᵢ λᵢτᵢ of one parameter, traced. coefficients — f32[1, models]; vectors — f32[models, elements] */
function addVectors(base: Tensor, vectors: Tensor, coefficients: Tensor): Tensor {
  return add(base, reshape(matmul(coefficients, vectors), base.shape));
}

/** θ₀ + Σᵢ λᵢτᵢ of every parameter that some model changed, on the host, sums in f64. */
export function applyCoefficients(stack: TaskVectorStack, coefficients: (name: string) => ArrayLike<number>): Record<string, HostTensor> {
  return Object.fromEntries(
    stack.names.map((name) => {
      const [origin, tau, lambda] = [stack.base[name]!, stack.vectors[name]!.data as Float32Array, coefficients(name)];
      const n = origin.data.length;
      const data = Float32Array.from(origin.data as Float32Array, (v, j) => {
        let sum = v;
        for (let i = 0; i < lambda.length; i++) sum += lambda[i]! * tau[i * n + j]!;
        return sum;
      });
      return [name, { dtype: "f32", shape: origin.shape, data }];
    }),
  );
}

/**
 * Task vectors as TIES leaves them (arXiv 2306.01708): each trimmed to its ⌊density·all⌋ largest entries over the whole model, and, with
 * `elect`, entries of the sign that loses the sum of the vectors (a tie counts as +) dropped too.
 */
export function trimVectors(stack: TaskVectorStack, density: number, elect: boolean): TaskVectorStack {
  const models = stack.vectors[stack.names[0]!]!.shape[0]!;
  const limits = Array.from({ length: models }, (_, i) => magnitudeLimit(stack, i, density));
  const vectors = Object.fromEntries(
    stack.names.map((name) => {
      const { shape, data } = stack.vectors[name]!;
      const n = shape[1]!;
      const kept = Float32Array.from(data as Float32Array, (v, j) => (Math.abs(v) >= limits[Math.floor(j / n)]! ? v : 0));
      if (elect)
        for (let j = 0; j < n; j++) {
          let vote = 0;
          for (let i = 0; i < models; i++) vote += kept[i * n + j]!;
          for (let i = 0; i < models; i++) if (kept[i * n + j]! * (vote >= 0 ? 1 : -1) < 0) kept[i * n + j] = 0;
        }
      return [name, { dtype: "f32" as const, shape, data: kept }];
    }),
  );
  return { ...stack, vectors };
}

function magnitudeLimit({ names, vectors }: TaskVectorStack, model: number, density: number): number {
  const total = names.reduce((sum, name) => sum + vectors[name]!.shape[1]!, 0);
  const all = new Float32Array(total);
  let at = 0;
  for (const name of names) {
    const n = vectors[name]!.shape[1]!;
    all.set((vectors[name]!.data as Float32Array).subarray(model * n, (model + 1) * n), at);
    at += n;
  }
  const sorted = all.map(Math.abs).sort();
  return sorted[total - Math.max(1, Math.floor(density * total))]!;
}

/** The parameters of a model while coefficients are traced: `coefficients[name]` f32[1, models] for each name of the stack. */
export function mergedTree(stack: TaskVectorStack, params: ParamTree, coefficients: Readonly<Record<string, Tensor>>): ParamTree {
  const merged = stack.names.map((n) => [n, addVectors(params[n]!, params[vectorName(n)]!, coefficients[n]!)] as const);
  return { ...params, ...Object.fromEntries(merged) };
}

/** What a graph needs of a stack, frozen. */
export function frozenStack(model: Model, stack: TaskVectorStack): Weights {
  const vectors = Object.fromEntries(stack.names.map((n) => [vectorName(n), stack.vectors[n]!]));
  return { ...model.params, ...stack.base, ...vectors };
}

function vectorName(name: string): string {
  return `task-vectors.${name}`;
}
