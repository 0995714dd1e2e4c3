/**
 * iMAML (arXiv 1909.04630): the inner loop descends L_S(φ) + (λ/2)‖φ − θ‖². At its minimum φ* the meta-gradient does not depend on the way
 * there: (I + ∇²L_S(φ*)/λ)⁻¹ ∇L_Q(φ*), which a few steps of conjugate gradients solve by products with the Hessian. Nothing of the inner
 * loop is kept.
 */
import { add, barrier, div, expandDims, grad, mul, reshape, stopGradient, sub, sum, type Tensor, vjp } from "@lfm/core";
import { z } from "zod";
import { defineGradientMethod, innerOptions, outerOptions, withDefault } from "../gradient/gradient-method.js";
import { type InnerLoop, mapTensors, runInnerLoop } from "../gradient/inner-loop.js";
import { meanOfTasks, towards } from "../gradient/outer-loss.js";
import type { TracedParams } from "../inputs.js";
import type { TaskGroup } from "../task-groups.js";

const config = z.strictObject({
  ...innerOptions,
  innerLr: withDefault(innerOptions.innerLr, 0.1),
  innerSteps: innerOptions.innerSteps.default(16).describe("gradient steps towards φ* while training"),
  evalSteps: withDefault(innerOptions.evalSteps, 16),
  pull: z.number().positive().default(2).describe("λ: how strongly φ is held at θ"),
  solverSteps: z.number().int().positive().default(5).describe("steps of conjugate gradients"),
  ...outerOptions,
});

export const loopOf = (lr: number, pull: number, steps: number): InnerLoop => ({
  steps,
  move: (own, gradients, { start }) => ({
    own: mapTensors(own, (t, name) => sub(t, mul(add(gradients[name]!, mul(sub(t, start[name]!), pull)), lr))),
  }),
});

export const imaml = defineGradientMethod({
  id: "imaml",
  summary: "Learns an initialisation by the implicit gradient of an inner loop that is held to it.",
  paper: { title: "Meta-Learning with Implicit Gradients", arxiv: "1909.04630", year: 2019, survey: "6.1 white-box meta-learning" },
  config,
  loop: (c, steps) => loopOf(c.innerLr, c.pull, steps),
  outer: (groups, loop, learned, c) => implicitLoss(groups, loop, learned, c.pull, c.solverSteps),
});

/** f32[]: the mean over all tasks of their queries' loss at φ*, with the implicit gradient. */
export function implicitLoss(
  groups: readonly TaskGroup[],
  loop: InnerLoop,
  learned: TracedParams,
  pull: number,
  solverSteps: number,
): Tensor {
  const sums = groups.map((group) => {
    const { path } = runInnerLoop(group, loop, learned);
    const found = mapTensors(path.at(-1)!, stopGradient);
    const loss = group.loss(found, "query");
    const v = grad(loss, found);
    // Another value than the loop's last: its activations are made anew.
    const at = mapTensors(found, (t) => barrier(t, Object.values(v)));
    const gradients = grad(group.loss(at, "support"), at);
    const names = Object.keys(at);
    const product = (x: TracedParams): TracedParams => {
      const turned = vjp(
        names.map((n) => gradients[n]!),
        names.map((n) => x[n]!),
        names.map((n) => at[n]!),
      );
      return Object.fromEntries(names.map((n, i) => [n, add(x[n]!, div(turned[i]!, pull))]));
    };
    return add(stopGradient(loss), towards(group.start, conjugateGradients(product, v, group, solverSteps)));
  });
  return meanOfTasks(groups, sums);
}

/** x with A x ≈ b for each task, begun at b: A symmetric and positive. */
function conjugateGradients(product: (x: TracedParams) => TracedParams, b: TracedParams, group: TaskGroup, steps: number): TracedParams {
  const minus = (x: TracedParams, y: TracedParams): TracedParams => mapTensors(x, (t, n) => sub(t, y[n]!));
  const plus = (x: TracedParams, y: TracedParams, scale: Tensor): TracedParams =>
    mapTensors(x, (t, n) => add(t, mul(y[n]!, alongTasks(scale, t, group))));
  let x = b;
  let r = minus(b, product(b));
  let p = r;
  let rr = inner(r, r, group);
  for (let k = 0; k < steps; k++) {
    const ap = product(p);
    const rate = div(rr, add(inner(p, ap, group), TINY));
    x = plus(x, p, rate);
    r = plus(r, ap, mul(rate, -1));
    const next = inner(r, r, group);
    p = plus(r, p, div(next, add(rr, TINY)));
    rr = next;
  }
  return x;
}

/** Where a task is solved already, 0 / 0 would follow. */
const TINY = 1e-30;

/** f32[tasks of the group] */
function inner(a: TracedParams, b: TracedParams, { tasks, axes }: TaskGroup): Tensor {
  return Object.keys(a)
    .map((n) => reshape(sum(mul(a[n]!, b[n]!), a[n]!.shape.map((_, axis) => axis).slice(axes)), [tasks]))
    .reduce((s, t) => add(s, t));
}

/** f32[tasks] in the shape in which it multiplies a tensor of the group. */
function alongTasks(scale: Tensor, t: Tensor, { axes }: TaskGroup): Tensor {
  if (axes === 0) return reshape(scale, []);
  return Array.from({ length: t.rank - 1 }).reduce<Tensor>((s) => expandDims(s, -1), scale);
}
