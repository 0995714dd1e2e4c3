import type { HostTensor } from "../dtype.js";
import type { Tensor } from "../tensor.js";

/** Values that change from step to step: inputs of the graph, never constants. */
export interface StepScalars {
  /** f32[] learning rate of this step. */
  readonly lr: Tensor;
  /** f32[] number of this step, from 1. */
  readonly step: Tensor;
}

/** State of one optimizer: slot name ("m", "v") → parameter name → tensor. */
export type OptimizerState<T> = Readonly<Record<string, Readonly<Record<string, T>>>>;

/** An update rule, traced into the training step. */
export interface Optimizer {
  readonly name: string;
  /** Zeroed state for these parameters. */
  init(params: Readonly<Record<string, HostTensor>>): OptimizerState<HostTensor>;
  /** New parameters and state. `grads` has one f32 tensor of the parameter's shape for every parameter. */
  update<K extends string>(
    params: Readonly<Record<K, Tensor>>,
    grads: Readonly<Record<K, Tensor>>,
    state: OptimizerState<Tensor>,
    scalars: StepScalars,
  ): { readonly params: Record<K, Tensor>; readonly state: OptimizerState<Tensor> };
}

type Slots = readonly string[];

/** Builds an optimizer from an elementwise rule on one parameter. Slots are zero-filled tensors of the parameter's shape. */
export function elementwiseOptimizer<const S extends Slots>(
  name: string,
  slots: S,
  rule: (
    p: Tensor,
    g: Tensor,
    slots: { readonly [K in S[number]]: Tensor },
    scalars: StepScalars,
    paramName: string,
  ) => { readonly p: Tensor; readonly slots: { readonly [K in S[number]]: Tensor } },
): Optimizer {
  return {
    name,
    init: (params) =>
      Object.fromEntries(
        slots.map((s) => [
          s,
          Object.fromEntries(
            Object.entries(params).map(([k, t]) => [k, { dtype: "f32" as const, shape: t.shape, data: new Float32Array(t.data.length) }]),
          ),
        ]),
      ),
    update: <K extends string>(
      params: Readonly<Record<K, Tensor>>,
      grads: Readonly<Record<K, Tensor>>,
      state: OptimizerState<Tensor>,
      scalars: StepScalars,
    ) => {
      const next = {} as Record<K, Tensor>;
      const nextState: Record<string, Record<string, Tensor>> = Object.fromEntries(slots.map((s) => [s, {}]));
      for (const k of Object.keys(params) as K[]) {
        const own = Object.fromEntries(slots.map((s) => [s, state[s]![k]!])) as { readonly [K in S[number]]: Tensor };
        const result = rule(params[k], grads[k], own, scalars, k);
        next[k] = result.p;
        for (const s of slots) nextState[s]![k] = result.slots[s as S[number]];
      }
      return { params: next, state: nextState };
    },
  };
}
