/**
 * Reptile (arXiv 1803.02999): θ ← θ + ε·mean(φ_K − θ), where φ_K is what K steps of an optimizer on a task's examples make of θ. No derivative
 * goes through the inner loop, and ε sinks in a line to 0.
 */
import { adam, add, type Optimizer, sgd, stopGradient, sub, type Tensor } from "@lfm/core";
import { z } from "zod";
import { defineGradientMethod, innerOptions, outerOptions, withDefault } from "../gradient/gradient-method.js";
import { type InnerLoop, mapTensors, runInnerLoop } from "../gradient/inner-loop.js";
import { byOptimizer } from "../gradient/moves.js";
import { meanOfTasks, towards } from "../gradient/outer-loss.js";
import type { TracedParams } from "../inputs.js";
import type { TaskGroup } from "../task-groups.js";

const config = z.strictObject({
  ...innerOptions,
  innerLr: withDefault(innerOptions.innerLr, 1e-3),
  innerSteps: innerOptions.innerSteps.default(5).describe("steps K on a task's examples while training"),
  evalSteps: innerOptions.evalSteps.default(50).describe("steps on the support set of a new task"),
  innerOptimizer: z
    .enum(["adam", "sgd"])
    .default("adam")
    .describe("of the inner loop; Adam without first moments (β₁ = 0), begun anew with each task"),
  learnsFrom: z.enum(["support", "both"]).default("both").describe("the examples of a training task: its support, or its queries too"),
  ...outerOptions,
  metaLr: outerOptions.metaLr.default(1).describe("step size ε of the outer loop"),
  schedule: withDefault(outerOptions.schedule, "linear"),
  clipNorm: outerOptions.clipNorm.default(1e6).describe("joint norm that φ_K − θ is clipped to"),
});

const optimizers = { adam: () => adam({ beta1: 0 }), sgd } as const satisfies Record<string, () => Optimizer>;

const loopOf = (c: z.output<typeof config>, steps: number): InnerLoop => ({
  steps,
  move: byOptimizer(optimizers[c.innerOptimizer](), c.innerLr),
});

export const reptile = defineGradientMethod({
  id: "reptile",
  summary: "Moves an initialisation towards what a few steps on each task make of it.",
  paper: {
    title: "On First-Order Meta-Learning Algorithms",
    arxiv: "1803.02999",
    year: 2018,
    survey: "6.1 white-box meta-learning",
  },
  config,
  loop: (c, steps, phase) => ({ ...loopOf(c, steps), ...(phase === "training" ? { learnsFrom: c.learnsFrom } : {}) }),
  outer: reptileLoss,
  optimizer: sgd(),
});

/** f32[]: the mean over all tasks of their loss before anything moves, with the gradient θ − mean φ_K. */
export function reptileLoss(groups: readonly TaskGroup[], loop: InnerLoop, learned: TracedParams): Tensor {
  const sums = groups.map((group) => {
    const { path, losses } = runInnerLoop(group, loop, learned);
    const away = mapTensors(group.start, (t, name) => sub(t, path.at(-1)![name]!));
    return add(stopGradient(losses[0]!), towards(group.start, away));
  });
  return meanOfTasks(groups, sums);
}
