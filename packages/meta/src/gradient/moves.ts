/** Moves of inner loops. */
import { full, mul, type Optimizer, sub, type Tensor, zerosLike } from "@lfm/core";
import { type Move, mapTensors, type Place } from "./inner-loop.js";

/** θ − αg. */
export const plainDescent = (lr: number): Move => alongDirection((g) => mul(g, lr));

/** θ − d(g), where the direction is made of each parameter's gradient alone. */
export function alongDirection(direction: (gradient: Tensor, name: string, place: Place) => Tensor): Move {
  return (own, gradients, place) => ({ own: mapTensors(own, (t, name) => sub(t, direction(gradients[name]!, name, place))) });
}

/** Steps of an optimizer, whose state begins anew with every task. */
export function byOptimizer(optimizer: Optimizer, lr: number): Move {
  const slots = Object.keys(optimizer.init({}));
  return (own, gradients, { step, carry }) => {
    const state = step > 0 ? carry : Object.fromEntries(slots.map((slot) => [slot, mapTensors(own, zerosLike)]));
    const next = optimizer.update(own, gradients, state, { lr: full([], lr), step: full([], step + 1) });
    return { own: next.params, carry: next.state };
  };
}
