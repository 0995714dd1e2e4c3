/** What an inner loop is judged by, and three ways to its gradient in what the outer loop learns. */
import { add, barrier, div, grad, mul, stopGradient, sub, sum, type Tensor, vjp } from "@lfm/core";
import type { TracedParams } from "../inputs.js";
import type { TaskGroup } from "../task-groups.js";
import { type InnerLoop, mapTensors, runInnerLoop } from "./inner-loop.js";

/**
 * `exact` differentiates through the whole inner loop. `hvp` comes to the same gradient by a recursion backwards over the steps, with one
 * product of a Hessian and a vector each: of the steps it keeps the parameters alone, no activations. `first` counts inner gradients as
 * constants.
 */
export const orders = ["exact", "hvp", "first"] as const;
export type Order = (typeof orders)[number];

/** f32[]: how much the queries' loss after k steps counts, k from 0 to K. Without it: after the last step alone. */
export type StepWeights = (k: number) => Tensor | number;

/** f32[]: the mean over all tasks of their queries' loss after the inner loop. */
export function outerLoss(
  groups: readonly TaskGroup[],
  loop: InnerLoop,
  learned: TracedParams,
  order: Order,
  weights: StepWeights = (k) => (k === loop.steps ? 1 : 0),
): Tensor {
  const lossOf = order === "hvp" ? byRecursion : unrolled(order === "exact" ? (g) => g : stopGradient);
  return meanOfTasks(
    groups,
    groups.map((group) => lossOf(group, loop, learned, weights)),
  );
}

/** f32[]: sums over the tasks of each group → the mean over all tasks. */
export function meanOfTasks(groups: readonly TaskGroup[], sums: readonly Tensor[]): Tensor {
  const tasks = groups.reduce((n, group) => n + group.tasks, 0);
  const total = sums.reduce((a, b) => add(a, b));
  return tasks === 1 ? total : div(total, tasks);
}

type LossOfGroup = (group: TaskGroup, loop: InnerLoop, learned: TracedParams, weights: StepWeights) => Tensor;

const unrolled =
  (cut: (g: Tensor) => Tensor): LossOfGroup =>
  (group, loop, learned, weights) => {
    const { path } = runInnerLoop(group, loop, learned, cut);
    return weightedQueries(group, path, weights)!;
  };

/** Σ_k w_k L_Q(θ_k) over the steps that count. */
function weightedQueries(group: TaskGroup, path: readonly TracedParams[], weights: StepWeights): Tensor | undefined {
  let total: Tensor | undefined;
  path.forEach((own, k) => {
    const weight = weights(k);
    if (weight === 0) return;
    const loss = group.loss(own, "query");
    const term = weight === 1 ? loss : mul(loss, weight);
    total = total ? add(total, term) : term;
  });
  return total;
}

/**
 * With v_K = ∇L_Q(θ_K) and (a_k, b_k) = v_{k+1} pulled back through the move, v_k = a_k + H_k b_k + w_k∇L_Q(θ_k), where H_k is the support's Hessian
 * at θ_k (for plain descent v_k = v_{k+1} − αH_k v_{k+1}). The activations of a step are made anew for its product and gone after it.
 */
const byRecursion: LossOfGroup = (group, loop, learned, weights) => {
  const forward = runInnerLoop({ ...group, start: mapTensors(group.start, stopGradient) }, loop, mapTensors(learned, stopGradient));
  const path = forward.path.map((own) => mapTensors(own, stopGradient));
  const terms: Tensor[] = [];
  let v: Record<string, Tensor> | undefined;
  for (let k = loop.steps; k >= 0; k--) {
    const own = path[k]!;
    let here: Record<string, Tensor> | undefined;
    const counted = weightedQueries(group, [own], () => weights(k));
    if (counted) {
      // What learns and does not move (a body under a head) is reached by this term itself.
      terms.push(counted);
      here = grad(counted, own);
    }
    if (k < loop.steps && v) {
      const after: TracedParams = v;
      const cotangents = Object.values(after);
      // Other values than those of the way forward, and not before v is there: what stood between them is not kept.
      const leaf = mapTensors(own, (t) => barrier(t, cotangents));
      const gradients = grad(group.loss(leaf, loop.learnsFrom ?? "support"), leaf);
      const given = mapTensors(gradients, (t) => barrier(stopGradient(t)));
      const from = mapTensors(own, (t) => barrier(t));
      const next = loop.move(from, given, { step: k, start: group.start, learned, axes: group.axes, carry: {} }).own;
      const names = Object.keys(after);
      const pulled = vjp(
        names.map((n) => next[n]!),
        cotangents,
        [...names.map((n) => from[n]!), ...names.map((n) => given[n]!)],
      );
      const [kept, asked] = [pulled.slice(0, names.length), pulled.slice(names.length).map(stopGradient)];
      const turned = vjp(
        names.map((n) => gradients[n]!),
        asked,
        names.map((n) => leaf[n]!),
      );
      terms.push(towards(next, after), towards(gradients, Object.fromEntries(names.map((n, i) => [n, asked[i]!]))));
      v = Object.fromEntries(names.map((n, i) => [n, add(kept[i]!, turned[i]!)]));
    }
    if (here) v = v ? mapTensors(v, (t, n) => add(t, here[n]!)) : here;
  }
  terms.push(towards(group.start, v ?? {}));
  return terms.reduce((a, b) => add(a, b));
};

/**
 * f32[]: 0, with the gradient `gradients` in `values`: what lets a loop that follows gradients of a loss follow others.
 * @param gradients of the shapes of the values, by the same names
 */
export function towards(values: TracedParams, gradients: TracedParams): Tensor {
  const product = Object.entries(gradients)
    .map(([name, g]) => sum(mul(values[name]!, stopGradient(g))))
    .reduce((a, b) => add(a, b));
  return sub(product, stopGradient(product));
}
