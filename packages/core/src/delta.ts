import type { HostTensor } from "./dtype.js";
import type { Hook } from "./hooks.js";
import type { Model, ParamTree, Weights } from "./model.js";
import type { Tensor } from "./tensor.js";

/**
 * Everything learned is a delta over a frozen base: weights (LoRA, edit patch, task vector, full weights),
 * input (prompts), output (votes, routers). Deltas stack in order and never mutate the base.
 */
export interface Delta {
  readonly kind: "weights" | "input" | "output";
  /** `paradigm/id` of the method that made it. */
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Hash of the model it was made on, null where it was not taken. */
  readonly parent: string | null;
  /** What was learned, by name. Names equal to parameters of the base replace them. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  /** What it puts into the forward pass; `tensors` arrive traced, under the same names. */
  hooks(tensors: ParamTree): readonly Hook[];
}

/** Total bytes of what was learned. */
export function deltaBytes(delta: Delta): number {
  return Object.values(delta.tensors).reduce((n, t) => n + t.data.byteLength, 0);
}

/** Number of learned values. */
export function deltaSize(delta: Delta): number {
  return Object.values(delta.tensors).reduce((n, t) => n + t.data.length, 0);
}

const keyOf = (i: number, name: string): string => `delta.${i}.${name}`;

/**
 * The model with deltas on it, in order: a model like any other. Its parameters are the base's plus the deltas';
 * dropping a delta gives back the base bit for bit, because nothing was written into it.
 */
export function withDeltas(model: Model, deltas: readonly Delta[]): Model {
  if (deltas.length === 0) return model;
  const params: Record<string, Weights[string]> = { ...model.params };
  deltas.forEach((d, i) => {
    for (const [name, t] of Object.entries(d.tensors)) params[name in model.params ? name : keyOf(i, name)] = t;
  });
  return {
    info: model.info,
    params,
    forward: (tree, input, context) => {
      const hooks = deltas.flatMap((d, i) => {
        const own: Record<string, Tensor> = {};
        for (const name of Object.keys(d.tensors)) own[name] = tree[name in model.params ? name : keyOf(i, name)]!;
        return d.hooks(own);
      });
      return model.forward(tree, input, { ...context, hooks: [...hooks, ...(context.hooks ?? [])] });
    },
  };
}
