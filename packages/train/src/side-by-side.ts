import {
  buffersOf,
  type ForwardContext,
  type Model,
  type ModelInput,
  type Outputs,
  type ParamTree,
  trainableParams,
  type Weight,
} from "@lfm/core";
import type { TrainingSpec } from "./training.js";

/** Several models in one graph, each with its own parameters: teacher and student, model and reference, two encoders. */
export interface SideBySide<K extends string> {
  /** Parameters and buffers that a training moves, and the rest of them, for models that learn; all the others are frozen. */
  learning(...names: readonly K[]): Required<Pick<TrainingSpec, "trainable" | "buffers" | "frozen">>;
  /** The forward pass of one of them; new values of its buffers come under the names of the common tree. */
  forward(name: K, params: ParamTree, input: ModelInput, context: ForwardContext): Outputs;
  /** The tensors of one model out of the common tree, under its own names. */
  own<T>(name: K, tensors: Readonly<Record<string, T>>): Record<string, T>;
}

/** Puts models side by side; their parameters live under `NAME/`. */
export function sideBySide<const K extends string>(models: Readonly<Record<K, Model>>): SideBySide<K> {
  const names = Object.keys(models) as K[];
  const gather = <T>(some: readonly K[], of: (model: Model) => Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(some.flatMap((name) => Object.entries(under(name, of(models[name])))));
  const all = gather<Weight>(names, (model) => model.params);
  return {
    learning: (...learners) => {
      const [trainable, buffers] = [gather(learners, (m) => trainableParams(m)), gather(learners, buffersOf)];
      const frozen = Object.fromEntries(Object.entries(all).filter(([key]) => !(key in trainable) && !(key in buffers)));
      return { trainable, buffers, frozen };
    },
    forward: (name, params, input, context) => {
      const out = models[name].forward(ownOf(name, params), input, context);
      return out.buffers ? { ...out, buffers: under(name, out.buffers) } : out;
    },
    own: ownOf,
  };
}

function under<T>(name: string, tensors: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(tensors).map(([key, t]) => [`${name}/${key}`, t]));
}

function ownOf<T>(name: string, tensors: Readonly<Record<string, T>>): Record<string, T> {
  const prefix = `${name}/`;
  return Object.fromEntries(Object.entries(tensors).flatMap(([key, t]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), t]] : [])));
}
