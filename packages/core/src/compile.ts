import { allocate, type HostTensor } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import type { CompileOptions } from "./engines/executable.js";
import { LfmError } from "./errors.js";
import type { Graph } from "./graph.js";
import { compileHeld } from "./held-inputs.js";
import type { Weight } from "./model.js";
import type { Tensor } from "./tensor.js";
import { isHostTensor, isTensor, type Spec, trace } from "./trace.js";
import { flattenTree, type MapTree, mapTree, type Tree } from "./tree.js";

export interface CompileFunctionOptions<F extends Tree<Weight>> extends CompileOptions {
  /** Weights bound into the graph: never changed, read straight from their files where the engine can. */
  readonly frozen?: F;
}

/** A compiled function over trees of host tensors. */
export interface Compiled<I, O> {
  (inputs: MapTree<I, Spec, HostTensor>): Promise<MapTree<O, Tensor, HostTensor>>;
  readonly graph: Graph;
  dispose(): Promise<void>;
}

/**
 * Traces `f` once and compiles it. Graphs of equal structure on the same frozen weights share one executable.
 * @param f gets placeholders in the structure of `inputs` (and of `options.frozen`), returns a tree of tensors
 */
export async function compile<const I extends Tree<Spec>, O extends Tree<Tensor>, F extends Tree<Weight> = Record<string, never>>(
  engine: Engine,
  inputs: I,
  f: (inputs: MapTree<I, Spec, Tensor>, frozen: MapTree<F, Weight, Tensor>) => O,
  options: CompileFunctionOptions<F> = {},
): Promise<Compiled<I, O>> {
  const { graph, output } = trace(inputs, f, options.frozen);
  const executable = await engine.executables.share(graph, options, () => engine.compile(graph, options));
  const call = async (values: MapTree<I, Spec, HostTensor>): Promise<MapTree<O, Tensor, HostTensor>> => {
    const results = await executable.run(Object.fromEntries(flattenTree<HostTensor>(values as Tree<HostTensor>, isHostTensor, "in")));
    return mapTree<O, Tensor, HostTensor>(output, isTensor, (_t, path) => results[path]!, "out");
  };
  return Object.assign(call, { graph, dispose: () => executable.dispose() });
}

export interface StepSpec<S extends Tree<HostTensor>, F extends Tree<Weight>, I extends Tree<Spec>, O extends Tree<Tensor>>
  extends CompileOptions {
  /** What changes from step to step, with its initial values: parameters, moments, buffers. */
  readonly state: S;
  readonly frozen?: F;
  readonly inputs: I;
  /**
   * Entries of `inputs` that are given the same tensors step after step: what depends on them and on frozen weights alone is computed when other
   * tensors come. They are told apart by identity and must not be written to. Default none.
   */
  readonly held?: readonly (keyof I & string)[];
  /** One step: new state in the structure of the old, and what the caller wants to see. */
  readonly step: (
    state: MapTree<S, HostTensor, Tensor>,
    inputs: MapTree<I, Spec, Tensor>,
    frozen: MapTree<F, Weight, Tensor>,
  ) => { readonly state: MapTree<S, HostTensor, Tensor>; readonly outputs: O };
}

/** A step whose state stays in two preallocated buffers per tensor, swapped after every run. */
export interface Step<S, I, O> {
  run(inputs: MapTree<I, Spec, HostTensor>): Promise<MapTree<O, Tensor, HostTensor>>;
  /** The current state; valid until the step after next overwrites it: copy what must live longer. */
  state(): S;
  /** Overwrites the state, e.g. on resume. @throws {LfmError} SHAPE_MISMATCH */
  load(state: S): void;
  readonly graph: Graph;
  dispose(): Promise<void>;
}

/** Compiles a whole training step — forward, backward, optimizer — into one graph with double-buffered state. */
export async function compileStep<
  S extends Tree<HostTensor>,
  const I extends Tree<Spec>,
  O extends Tree<Tensor>,
  F extends Tree<Weight> = Record<string, never>,
>(engine: Engine, spec: StepSpec<S, F, I, O>): Promise<Step<S, I, O>> {
  const types = mapTree<S, HostTensor, Spec>(spec.state, isHostTensor, (t) => ({ dtype: t.dtype, shape: t.shape }));
  const { graph, output } = trace(
    { state: types, inputs: spec.inputs } as unknown as Tree<Spec>,
    (all, frozen) => {
      const { state, inputs } = all as unknown as { state: MapTree<S, HostTensor, Tensor>; inputs: MapTree<I, Spec, Tensor> };
      return spec.step(state, inputs, frozen as MapTree<F, Weight, Tensor>) as unknown as Tree<Tensor>;
    },
    spec.frozen as Tree<Weight> | undefined,
  );
  const outputTree = (output as unknown as { outputs: O }).outputs;
  const held = (spec.held ?? []).map((name) => `in/inputs/${name}`);
  const heldNames = graph.inputs.map((i) => i.name).filter((name) => held.some((h) => name === h || name.startsWith(`${h}/`)));
  const executable = await compileHeld(engine, graph, new Set(heldNames), spec);
  const copy = (t: HostTensor): HostTensor => ({ ...t, data: t.data.slice() });
  let current = new Map(flattenTree<HostTensor>(spec.state, isHostTensor, "").map(([path, t]) => [path, copy(t)]));
  let spare = new Map([...current].map(([path, t]) => [path, { ...t, data: allocate(t.dtype, t.data.length) }]));
  checkStateShapes(graph, current);
  return {
    graph,
    run: async (inputs) => {
      const feeds: Record<string, HostTensor> = Object.fromEntries(
        flattenTree<HostTensor>(inputs as Tree<HostTensor>, isHostTensor, "in/inputs"),
      );
      const into: Record<string, HostTensor> = {};
      for (const [path, t] of current) feeds[`in/state/${path}`] = t;
      for (const [path, t] of spare) into[`out/state/${path}`] = t;
      const results = await executable.run(feeds, into);
      [current, spare] = [spare, current];
      return mapTree<O, Tensor, HostTensor>(outputTree, isTensor, (_t, path) => results[path]!, "out/outputs");
    },
    state: () => mapTree<S, HostTensor, HostTensor>(spec.state, isHostTensor, (_t, path) => current.get(path)!) as unknown as S,
    load: (state) => {
      for (const [path, t] of flattenTree<HostTensor>(state, isHostTensor, "")) {
        const target = current.get(path);
        if (!target || target.data.length !== t.data.length || target.dtype !== t.dtype)
          throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] state "${path}" does not fit this step`);
        (target.data as Float32Array).set(t.data as Float32Array);
      }
    },
    dispose: () => executable.dispose(),
  };
}

function checkStateShapes(graph: Graph, state: ReadonlyMap<string, HostTensor>): void {
  const outputs = new Map(graph.outputs.map((o) => [o.name, o.tensor]));
  for (const [path, t] of state) {
    const next = outputs.get(`out/state/${path}`);
    if (!next) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] the step returns no new value for its state "${path}"`);
    const same = next.dtype === t.dtype && next.rank === t.shape.length && next.shape.every((d, i) => d === t.shape[i]);
    if (!same)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] the step changes its state "${path}" from ${t.dtype}[${t.shape}] to ${next}`);
  }
}
