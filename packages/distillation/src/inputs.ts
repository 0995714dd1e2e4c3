import type { HostTensor, Model, Monitor } from "@lfm/core";
import type { LearningTask } from "@lfm/train";

export interface DistillationInputs {
  readonly teacher: Model;
  readonly student: Model;
  /** Labelled or unlabelled real data; data-free methods ignore it. */
  readonly task?: LearningTask;
  /** Shape of one input of the teacher, without the batch: what a data-free method must invent. */
  readonly itemShape?: readonly number[];
}

export interface DistillationOutput {
  /** The student's learned parameters. */
  readonly params: Readonly<Record<string, HostTensor>>;
  readonly student: Model;
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  readonly monitors: readonly Monitor[];
}

/** The student with other weights. */
export function withParams(model: Model, params: Readonly<Record<string, HostTensor>>): Model {
  return { ...model, params: { ...model.params, ...params }, forward: (p, i, c) => model.forward(p, i, c) };
}

/** Parameters of several models side by side in one tree, told apart by a prefix. */
export function prefixed<T>(prefix: string, params: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(params).map(([k, v]) => [`${prefix}${k}`, v]));
}

/** The part of a tree under a prefix, with the prefix cut. */
export function part<T>(prefix: string, params: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(params)
      .filter(([k]) => k.startsWith(prefix))
      .map(([k, v]) => [k.slice(prefix.length), v]),
  );
}
