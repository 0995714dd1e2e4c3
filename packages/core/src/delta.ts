import { type Dim, dimRename } from "./dims.js";
import type { HostTensor } from "./dtype.js";
import { LfmError } from "./errors.js";
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
  /**
   * Shapes, with symbols, of tensors whose size differs between deltas of this kind: rows of a codebook, length of a prompt, rank. Hooks see the
   * symbols, and deltas of every size share a session. Default: the sizes that the tensors have.
   */
  readonly shapes?: Readonly<Record<string, readonly Dim[]>>;
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

/**
 * The model with deltas on it, in order: a model like any other, which can be trained and given deltas again. Its parameters are the base's
 * plus the deltas'; dropping a delta gives back the base bit for bit, because nothing was written into it.
 * Tensors named like parameters of the base replace them (the last delta wins); all others live under `delta.<place>.<name>`. Both are live:
 * {@link Model.live}.
 * @throws {LfmError} SHAPE_MISMATCH when a replaced parameter has another shape
 */
export function withDeltas(model: Model, deltas: readonly Delta[]): Model {
  if (deltas.length === 0) return model;
  const params: Record<string, Weights[string]> = { ...model.params };
  const live: Record<string, readonly Dim[]> = { ...model.live };
  const first = places(model.params);
  const keys = deltas.map((d, i) =>
    Object.fromEntries(Object.keys(d.tensors).map((name) => [name, name in model.params ? name : `delta.${first + i}.${name}`])),
  );
  deltas.forEach((d, i) => {
    for (const [name, t] of Object.entries(d.tensors)) {
      const base = model.params[name];
      if (base && base.shape.join() !== t.shape.join())
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] ${d.method}: "${name}" is [${t.shape}], the model has [${base.shape}]`);
      const key = keys[i]![name]!;
      params[key] = t;
      // Symbols of two deltas are told apart by their places.
      live[key] = (d.shapes?.[name] ?? t.shape).map((dim) => dimRename(dim, (symbol) => `delta${first + i}_${symbol}`));
    }
  });
  return {
    info: model.info,
    params,
    live,
    forward: (tree, input, context) => {
      const hooks = deltas.flatMap((d, i) => d.hooks(mapKeys(keys[i]!, (key) => tree[key]!)));
      return model.forward(tree, input, { ...context, hooks: [...hooks, ...(context.hooks ?? [])] });
    },
  };
}

/** Number of the first place that no delta of this model has taken. */
function places(params: Weights): number {
  let free = 0;
  for (const name of Object.keys(params)) {
    const found = /^delta\.(\d+)\./.exec(name);
    if (found) free = Math.max(free, Number(found[1]) + 1);
  }
  return free;
}

function mapKeys(keys: Readonly<Record<string, string>>, f: (key: string) => Tensor): ParamTree {
  return Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, f(key)]));
}
