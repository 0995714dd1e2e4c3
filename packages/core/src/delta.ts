import { type Dim, dimRename } from "./dims.js";
import type { HostTensor } from "./dtype.js";
import { LfmError } from "./errors.js";
import type { Hook } from "./hooks.js";
import type { Model, ParamTree, Weights } from "./model.js";
import { requirePlainBase } from "./quantized-base.js";
import { placeholder, type Tensor } from "./tensor.js";

/**
 * What the deltas of a method are: stands in the method, and is the only place that says what a delta puts into the forward pass.
 * @typeParam C options of the method, parsed
 */
export interface DeltaForm<C = Readonly<Record<string, unknown>>> {
  /**
   * What it puts into the forward pass; `tensors` arrive traced, under the names they are saved by. Nothing where the tensors only replace
   * parameters of the base. `members`: the hooks of each delta that it is composed of, in order.
   */
  hooks(config: C, tensors: ParamTree, members: readonly (readonly Hook[])[]): readonly Hook[];
  /** The same as changes of weights and biases alone, for a method whose `hooks` spell them in a faster way: what {@link plainWeights} applies. */
  weights?(config: C, tensors: ParamTree, members: readonly (readonly Hook[])[]): readonly Hook[];
  /** Shapes with symbols of tensors whose size differs between deltas of this method, see {@link Delta.shapes}. */
  shapes?(tensors: Readonly<Record<string, HostTensor>>): Readonly<Record<string, readonly Dim[]>>;
  /**
   * Tensors of one delta that does what two do, one lying on the other, whatever their options: for {@link joinDeltas}. Symbols in `shapes` let
   * the joined ones share a session, however many they are.
   */
  join?(below: Readonly<Record<string, HostTensor>>, above: Readonly<Record<string, HostTensor>>): Readonly<Record<string, HostTensor>>;
  /** Tensors that a delta carries and no training moves, by name: projections drawn at random, task vectors that a router mixes. */
  frozen?(name: string): boolean;
}

/** The form of a delta whose tensors are parameters of the base under their own names: full fine-tuning, students, merged weights. */
export const replacedParameters: DeltaForm<unknown> = Object.freeze({
  hooks: () => [],
  join: (below, above) => ({ ...below, ...above }),
} satisfies DeltaForm<unknown>);

/** What {@link makeDelta} must know of a method. */
export interface DeltaMethod<C> {
  readonly id: string;
  readonly paradigm: string;
  readonly delta?: DeltaForm<C>;
}

/** A delta that another one is composed of, without its tensors. */
export interface DeltaMember {
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Everything learned is a delta over a frozen base: weights (LoRA, edit patch, task vector, full weights), input (prompts), output (votes,
 * routers). Deltas stack in order and never mutate the base. Made by {@link makeDelta} alone.
 */
export interface Delta {
  /** `paradigm/id` of the method that made it. */
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Hash of the model it was made on, null where it was not taken. */
  readonly parent: string | null;
  /** What was learned, by name. Names equal to parameters of the base replace them; those of members stand under `members.<place>.`. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  /**
   * Shapes, with symbols, of tensors whose size differs between deltas of this kind: rows of a codebook, length of a prompt, rank. Hooks see the
   * symbols, and deltas of every size share a session. Default: the sizes that the tensors have.
   */
  readonly shapes?: Readonly<Record<string, readonly Dim[]>>;
  /** What it is composed of (AdapterFusion); none for most. */
  readonly members: readonly DeltaMember[];
  /** Names of tensors that no training moves. */
  readonly frozen: ReadonlySet<string>;
  /** What it puts into the forward pass; `tensors` arrive traced, under the same names. */
  hooks(tensors: ParamTree): readonly Hook[];
  /** The same as changes of weights, see {@link DeltaForm.weights}. */
  weightHooks(tensors: ParamTree): readonly Hook[];
  /** This delta with another of the same method on it, as one; absent where the method has no form for that. */
  join?(above: Delta): Delta;
}

export interface MakeDeltaOptions {
  /** Hash of the model it was made on. */
  readonly parent?: string | null;
  /** Deltas that it is composed of: their tensors travel with it, frozen. */
  readonly members?: readonly Delta[];
}

/**
 * The one way to a delta: hooks come from the method's form, after training as after loading.
 * @param tensors what was learned, and what is carried along
 * @throws {LfmError} CONFIG_INVALID for a method that learns no deltas
 */
export function makeDelta<C>(
  method: DeltaMethod<C>,
  config: C & Readonly<Record<string, unknown>>,
  tensors: Readonly<Record<string, HostTensor>>,
  options: MakeDeltaOptions = {},
): Delta {
  const name = `${method.paradigm}/${method.id}`;
  const form = method.delta;
  if (!form) throw new LfmError("CONFIG_INVALID", `[@lfm/core] ${name} learns no deltas`);
  const members = options.members ?? [];
  const all = { ...tensors, ...Object.assign({}, ...members.map((m, i) => inPlace(m.tensors, i))) };
  const spelled = (spell: DeltaForm<C>["hooks"], which: "hooks" | "weightHooks") => (tree: ParamTree) =>
    spell(
      config,
      tree,
      members.map((m, i) => m[which](ofPlace(tree, i))),
    );
  return {
    method: name,
    config,
    parent: options.parent ?? null,
    tensors: all,
    ...(form.shapes ? { shapes: form.shapes(tensors) } : {}),
    members: members.map((m) => ({ method: m.method, config: m.config })),
    frozen: new Set(
      Object.keys(all)
        .filter((key) => isMemberTensor(key) || form.frozen?.(key))
        .sort(),
    ),
    hooks: spelled((...a) => form.hooks(...a), "hooks"),
    weightHooks: spelled((...a) => (form.weights ?? form.hooks).apply(form, a), "weightHooks"),
    ...(form.join && members.length === 0
      ? { join: (above: Delta) => makeDelta(method, config, form.join!(tensors, above.tensors), options) }
      : {}),
  };
}

/** The same stack with neighbours of one method joined where its deltas can be: as few as there are turns from one method to another. */
export function joinDeltas(deltas: readonly Delta[]): readonly Delta[] {
  const stack: Delta[] = [];
  for (const delta of deltas) {
    const below = stack.at(-1);
    if (below?.join && delta.join && below.method === delta.method && below.parent === delta.parent)
      stack[stack.length - 1] = below.join(delta);
    else stack.push(delta);
  }
  return stack;
}

/** Whether a tensor of a delta is one of its members'. */
export function isMemberTensor(name: string): boolean {
  return /^members\.\d+\./.test(name);
}

function inPlace(tensors: Readonly<Record<string, HostTensor>>, place: number): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [`members.${place}.${name}`, t]));
}

/** The tensors of the member at a place under their own names. */
export function ofPlace<T>(tensors: Readonly<Record<string, T>>, place: number): Record<string, T> {
  const prefix = `members.${place}.`;
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])),
  );
}

/** What of the model a delta changes: its weights (or what its layers give), or what it reads alone: prompts, keys and values in front. */
export function changedBy(delta: Delta, model: Pick<Model, "params">): "weights" | "input" {
  const tensors = tracedTensors(delta);
  const inner = (hook: Hook): boolean => [hook.input, hook.weight, hook.bias, hook.output].some((part) => part !== undefined);
  return Object.keys(tensors).some((name) => Object.hasOwn(model.params, name)) || delta.hooks(tensors).some(inner) ? "weights" : "input";
}

/** The tensors of a delta as they arrive in its hooks, without values: for looking at what the hooks match. */
export function tracedTensors(delta: Pick<Delta, "tensors">): ParamTree {
  return Object.fromEntries(Object.entries(delta.tensors).map(([name, t]) => [name, placeholder(name, t.dtype, t.shape)]));
}

/** Total bytes of what was learned. */
export function deltaBytes(delta: Delta): number {
  return Object.values(delta.tensors).reduce((n, t) => n + t.data.byteLength, 0);
}

/** Number of learned values; what is only carried along does not count. */
export function deltaSize(delta: Delta): number {
  return Object.entries(delta.tensors).reduce((n, [name, t]) => n + (delta.frozen.has(name) ? 0 : t.data.length), 0);
}

/**
 * The model with deltas on it, in order: a model like any other, which can be trained and given deltas again. Its parameters are the base's
 * plus the deltas'; dropping a delta gives back the base bit for bit, because nothing was written into it.
 * Tensors named like parameters of the base replace them (the last delta wins); all others live under `delta.<place>.<name>`. Both are live:
 * {@link Model.live}.
 * @throws {LfmError} SHAPE_MISMATCH when a replaced parameter has another shape, CAPABILITY_MISSING for one that the base holds in fewer bits
 */
export function withDeltas(model: Model, deltas: readonly Delta[]): Model {
  if (deltas.length === 0) return model;
  for (const delta of deltas) requirePlainBase(model, delta);
  const params: Record<string, Weights[string]> = { ...model.params };
  const live: Record<string, readonly Dim[]> = { ...model.live };
  const first = places(model.params);
  const keys = deltas.map((d, i) =>
    Object.fromEntries(
      Object.keys(d.tensors).map((name) => [name, Object.hasOwn(model.params, name) ? name : `delta.${first + i}.${name}`]),
    ),
  );
  deltas.forEach((d, i) => {
    for (const [name, t] of Object.entries(d.tensors)) {
      const base = Object.hasOwn(model.params, name) ? model.params[name] : undefined;
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
    ...(model.quantized ? { quantized: model.quantized } : {}),
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
