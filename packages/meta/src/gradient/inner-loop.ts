/** The inner loop of every gradient-based method: steps of each task on its support, as pure terms on traced tensors. */
import { grad, type OptimizerState, stopGradient, type Tensor } from "@lfm/core";
import type { TracedParams } from "../inputs.js";
import type { Part, TaskGroup } from "../task-groups.js";

/** What a move sees besides values and gradients. */
export interface Place {
  /** From 0. */
  readonly step: number;
  /** What moves, before the first step. */
  readonly start: TracedParams;
  /** All that the outer loop learns, the inner loop's own tensors (rates, curvatures) among it. */
  readonly learned: TracedParams;
  /** As {@link TaskGroup.axes}: leading axes that a learned tensor has not. */
  readonly axes: 0 | 1;
  /** What the move before left. */
  readonly carry: OptimizerState<Tensor>;
}

/** Parameters after a step. */
export type Move = (
  own: TracedParams,
  gradients: TracedParams,
  place: Place,
) => { readonly own: TracedParams; readonly carry?: OptimizerState<Tensor> };

export interface InnerLoop {
  readonly steps: number;
  /** The examples that gradients are taken of; default the support. */
  readonly learnsFrom?: Part;
  readonly move: Move;
}

export interface InnerPath {
  /** θ_0 … θ_K */
  readonly path: readonly TracedParams[];
  /** f32[] before each step, summed over the group's tasks. */
  readonly losses: readonly Tensor[];
}

/**
 * θ_{k+1} = move(θ_k, ∇L(θ_k)).
 * @param cut what is done to a gradient before it moves anything: nothing where it is to be differentiated through
 */
export function runInnerLoop(
  group: TaskGroup,
  loop: InnerLoop,
  learned: TracedParams,
  cut: (g: Tensor) => Tensor = stopGradient,
): InnerPath {
  const path: TracedParams[] = [group.start];
  const losses: Tensor[] = [];
  let carry: OptimizerState<Tensor> = {};
  for (let step = 0; step < loop.steps; step++) {
    const own = path[step]!;
    const loss = group.loss(own, loop.learnsFrom ?? "support");
    const gradients = mapTensors(grad(loss, own), cut);
    const next = loop.move(own, gradients, { step, start: group.start, learned, axes: group.axes, carry });
    path.push(next.own);
    losses.push(loss);
    carry = next.carry ?? {};
  }
  return { path, losses };
}

/** A tensor for each name. */
export function mapTensors(tensors: TracedParams, f: (t: Tensor, name: string) => Tensor): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, f(t, name)]));
}
