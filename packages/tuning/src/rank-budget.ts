/**
 * Budgets of ranks (AdaLoRA, arXiv 2303.10512, section 3.2 and 3.3): how many ranks all layers may have together at a step, and which of them stay.
 * As PEFT's RankAllocator: sensitivities |w·∂L/∂w| of the updated weights, smoothed, times their smoothed deviation.
 */
import {
  abs,
  add,
  cast,
  concat,
  constant,
  expandDims,
  f32,
  gather,
  greater,
  greaterEqual,
  i32,
  mean,
  minimum,
  mul,
  type ParamTree,
  reshape,
  split,
  sub,
  sum,
  type Tensor,
  where,
  zeros,
} from "@lfm/core";
import type { Stages } from "@lfm/train";

export interface BudgetSchedule {
  readonly initR: number;
  readonly targetR: number;
  readonly tinit: number;
  readonly tfinal: number;
  readonly deltaT: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly totalStep: number;
}

/** Names of the tensors of one layer: A f32[r, in], E f32[r, 1], B f32[out, r]. */
export interface Triplet {
  readonly a: string;
  readonly e: string;
  readonly b: string;
}

/**
 * How many ranks are taken off at each step from 0 to T = total − tfinal, −1 where nothing is decided: the budget falls from all to the target as
 * target + (all − target)·(1 − (t − tinit)/(T − tinit))³, and is enforced every `deltaT` steps and at T.
 */
export function ranksTakenOff(s: BudgetSchedule, layers: number): readonly number[] {
  const [all, target, last] = [s.initR * layers, s.targetR * layers, s.totalStep - s.tfinal];
  return Array.from({ length: last + 1 }, (_, t) => {
    if (t === last) return all - target;
    if (t <= s.tinit || t % s.deltaT !== 0) return -1;
    const left = 1 - (t - s.tinit) / (last - s.tinit);
    return all - Math.floor((all - target) * left ** 3 + target);
  });
}

/** Tensors of one shape that lie side by side, so that a step computes with few large tensors instead of many small ones. */
interface Group {
  /** Places of the layers, in the order in which they lie. */
  readonly layers: readonly number[];
  readonly names: readonly string[];
  readonly shape: readonly number[];
}

/** The layers' tensors of one part by shape. */
export function byShape(names: readonly string[], shapes: Readonly<Record<string, readonly number[]>>): readonly Group[] {
  const groups = new Map<string, { layers: number[]; names: string[]; shape: readonly number[] }>();
  for (const [i, name] of names.entries()) {
    const shape = shapes[name]!;
    const group = groups.get(shape.join()) ?? { layers: [], names: [], shape };
    groups.set(shape.join(), group);
    group.layers.push(i);
    group.names.push(name);
  }
  return [...groups.values()];
}

type Part = "a" | "e" | "b";
/** A and E have the ranks of a layer in rows, B in columns. */
const AXIS = { a: 0, e: 0, b: 1 } as const;

/** The tensors of a group as one, rank after rank of layer after layer. */
export function sideBySide({ names }: Group, part: Part, tensors: ParamTree): Tensor {
  return concat(
    names.map((name) => tensors[name]!),
    AXIS[part],
  );
}

/** The stages that keep layers within the budget. `shapes` — of the tensors of all layers. */
export function rankBudget(s: BudgetSchedule, layers: readonly Triplet[], shapes: Readonly<Record<string, readonly number[]>>): Stages {
  const last = s.totalStep - s.tfinal;
  const count = layers.length * s.initR;
  const off = f32(ranksTakenOff(s, layers.length));
  const groups = (["a", "e", "b"] as const).flatMap((part) =>
    byShape(
      layers.map((layer) => layer[part]),
      shapes,
    ).map((group, i) => ({ ...group, part, average: `average.${part}.${i}`, deviation: `deviation.${part}.${i}` })),
  );
  const joined = ({ part, shape, names }: (typeof groups)[number]): number[] =>
    shape.map((n, axis) => (axis === AXIS[part] ? n * names.length : n));
  return {
    carry: {
      ...Object.fromEntries(groups.flatMap((group) => [group.average, group.deviation].map((key) => [key, zeros(joined(group))] as const))),
      mask: f32(new Float32Array(count).fill(1)),
    },
    project: (params, { carry, gradients, step }) => {
      const next: Record<string, Tensor> = {};
      // From the last decision on nothing is measured.
      const isMeasured = cast(greater(last, step), "f32");
      const [new1, new2] = [mul(isMeasured, 1 - s.beta1), mul(isMeasured, 1 - s.beta2)];
      const moved = (old: Tensor, value: Tensor, share: Tensor): Tensor => add(old, mul(sub(value, old), share));
      const importance = (part: Part): Tensor => {
        const own = groups.filter((group) => group.part === part);
        const scores = own.map((group) => {
          const sensitivity = abs(mul(sideBySide(group, part, params), sideBySide(group, part, gradients)));
          const smooth = moved(carry[group.average]!, sensitivity, new1);
          const spread = moved(carry[group.deviation]!, abs(sub(sensitivity, smooth)), new2);
          next[group.average] = smooth;
          next[group.deviation] = spread;
          return mean(mul(smooth, spread), 1 - AXIS[part]);
        });
        const order = own.flatMap((group) => group.layers);
        const places = layers.flatMap((_, i) => Array.from({ length: s.initR }, (_, k) => order.indexOf(i) * s.initR + k));
        return own.length === 1 ? scores[0]! : gather(concat(scores, 0), constant(i32(places)), 0, { distinct: true });
      };
      const scores = add(importance("e"), add(importance("a"), importance("b")));
      // Taken off are those that fewer others are smaller than: equal ones together.
      const smaller = sum(cast(greater(expandDims(scores, 1), expandDims(scores, 0)), "f32"), 1);
      const taken = gather(constant(off), reshape(cast(minimum(step, last), "i32"), [1]));
      const isDecided = greaterEqual(taken, 0);
      const own = cast(greaterEqual(smaller, taken), "f32");
      const before = carry.mask!;
      const isLate = greater(step, last);
      next.mask = where(isLate, before, where(isDecided, own, before));
      const stays = where(isLate, before, where(isDecided, own, 1));
      const values = concat(
        layers.map(({ e }) => params[e]!),
        0,
      );
      const pruned = split(
        where(greater(expandDims(stays, 1), 0.5), values, 0),
        0,
        layers.map(() => s.initR),
      );
      return { params: { ...params, ...Object.fromEntries(layers.map(({ e }, i) => [e, pruned[i]!])) }, carry: next };
    },
  };
}
