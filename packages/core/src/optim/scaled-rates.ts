import { mul } from "../ops/elementwise.js";
import type { Tensor } from "../tensor.js";
import type { Optimizer, OptimizerState } from "./optimizer.js";

/**
 * An optimizer whose parameters learn at rates of their own, as torch's parameter groups.
 * @param factorOf the learning rate of a parameter as a multiple of the step's, positive
 */
export function scaledRates(inner: Optimizer, factorOf: (name: string) => number): Optimizer {
  return {
    name: inner.name,
    init: (params) => inner.init(params),
    update: <K extends string>(
      params: Readonly<Record<K, Tensor>>,
      grads: Readonly<Record<K, Tensor>>,
      state: OptimizerState<Tensor>,
      scalars: { readonly lr: Tensor; readonly step: Tensor },
    ) => {
      const groups = new Map<number, K[]>();
      for (const name of Object.keys(params) as K[]) {
        const factor = factorOf(name);
        groups.set(factor, [...(groups.get(factor) ?? []), name]);
      }
      const next = {} as Record<K, Tensor>;
      const nextState: Record<string, Record<string, Tensor>> = {};
      for (const [factor, names] of groups) {
        const lr = factor === 1 ? scalars.lr : mul(scalars.lr, factor);
        const own = inner.update(picked(params, names), picked(grads, names), state, { ...scalars, lr });
        Object.assign(next, own.params);
        for (const [slot, tensors] of Object.entries(own.state)) nextState[slot] = { ...nextState[slot], ...tensors };
      }
      return { params: next, state: nextState };
    },
  };
}

function picked<K extends string, T>(all: Readonly<Record<K, T>>, names: readonly K[]): Record<K, T> {
  return Object.fromEntries(names.map((name) => [name, all[name]])) as Record<K, T>;
}
