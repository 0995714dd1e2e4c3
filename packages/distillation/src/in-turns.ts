import { add, cast, floor, type HostTensor, less, mul, type Optimizer, type OptimizerState, sub, type Tensor } from "@lfm/core";

/** Who moves seldom. */
export interface SlowPlayer {
  readonly owns: (name: string) => boolean;
  readonly optimizer: Optimizer;
  /** It moves in the first of so many steps. */
  readonly every: number;
  /** Its learning rate as a share of the other's. */
  readonly rate: number;
}

/**
 * Two players in one training, each with an optimizer of its own: the slow one moves in every k-th step, and its optimizer counts those alone. What it
 * has, moments included, stays as it is in all others.
 */
export function inTurns(slow: SlowPlayer, other: Optimizer): Optimizer {
  const part = <T>(tree: Readonly<Record<string, T>>, own: boolean): Record<string, T> =>
    Object.fromEntries(Object.entries(tree).filter(([name]) => slow.owns(name) === own));
  const joined = <T>(
    a: Readonly<Record<string, Readonly<Record<string, T>>>>,
    b: Readonly<Record<string, Readonly<Record<string, T>>>>,
  ): Record<string, Record<string, T>> =>
    Object.fromEntries([...new Set([...Object.keys(a), ...Object.keys(b)])].map((slot) => [slot, { ...a[slot], ...b[slot] }]));
  const slots = <T>(state: Readonly<Record<string, Readonly<Record<string, T>>>>, own: boolean): Record<string, Record<string, T>> =>
    Object.fromEntries(Object.entries(state).map(([slot, tree]) => [slot, part(tree, own)]));
  return {
    name: `${other.name} and ${slow.optimizer.name} in turns`,
    init: (params: Readonly<Record<string, HostTensor>>) =>
      joined(slow.optimizer.init(part(params, true)), other.init(part(params, false))),
    update: <K extends string>(
      params: Readonly<Record<K, Tensor>>,
      grads: Readonly<Record<K, Tensor>>,
      state: OptimizerState<Tensor>,
      { lr, step }: { readonly lr: Tensor; readonly step: Tensor },
    ) => {
      const before = sub(step, 1);
      const round = floor(mul(before, 1 / slow.every));
      const moves = cast(less(sub(before, mul(round, slow.every)), 0.5), "f32");
      const chosen = (next: Tensor, old: Tensor): Tensor => add(old, mul(sub(next, old), moves));
      const own = { params: part<Tensor>(params, true), state: slots<Tensor>(state, true) };
      const moved = slow.optimizer.update(own.params, part<Tensor>(grads, true), own.state, {
        lr: mul(lr, slow.rate),
        step: add(round, 1),
      });
      const rest = other.update(part<Tensor>(params, false), part<Tensor>(grads, false), slots<Tensor>(state, false), { lr, step });
      const kept = Object.fromEntries(Object.entries(moved.params).map(([name, t]) => [name, chosen(t, own.params[name]!)]));
      const keptState = Object.fromEntries(
        Object.entries(moved.state).map(([slot, tree]) => [
          slot,
          Object.fromEntries(Object.entries(tree).map(([name, t]) => [name, chosen(t, own.state[slot]![name]!)])),
        ]),
      );
      const next = {} as Record<K, Tensor>;
      Object.assign(next, kept, rest.params);
      return { params: next, state: joined(keptState, rest.state) };
    },
  };
}
