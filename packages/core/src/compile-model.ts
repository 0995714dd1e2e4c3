import type { DimEnv } from "./dims.js";
import type { HostTensor } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import type { CompileOptions, Executable } from "./engines/executable.js";
import { loadWeight } from "./engines/reference.js";
import { LfmError } from "./errors.js";
import { bindSymbols, type Graph } from "./graph.js";
import type { Model, ParamTree, Weight } from "./model.js";
import { isSmallFloat, widenToF32 } from "./small-floats.js";
import type { Tensor } from "./tensor.js";
import { Declarations, isHostTensor, isTensor, type Spec } from "./trace.js";
import { flattenTree, type MapTree, mapTree, type Tree } from "./tree.js";

/** What a compiled function of a model reads of the model at hand. */
export interface BoundModel {
  readonly model: Model;
  readonly graph: Graph;
  /** Values of the symbols in the shapes of what is live. */
  readonly dims: DimEnv;
}

/** A compiled function of inputs and of a model whose live parameters are bound at each run. */
export interface CompiledModel<I, O> {
  /** @param into buffers that the outputs are written into */
  (inputs: MapTree<I, Spec, HostTensor>, into?: MapTree<O, Tensor, HostTensor>): Promise<MapTree<O, Tensor, HostTensor>>;
  /** The same by the names in the graph, `in/PATH` and `out/PATH`: for loops that keep what they feed from step to step. */
  run: Executable["run"];
  /** The model at hand. */
  bound(): BoundModel;
  /**
   * Other values of live parameters from the next call on; nothing is traced, and the model at hand stays the one that was compiled. Not while a
   * call is under way.
   * @param values by parameter name; what is not named keeps its value
   * @throws {LfmError} PARAM_NOT_FOUND for a name that is not live, SHAPE_MISMATCH and DTYPE_UNSUPPORTED for a tensor that does not fit there
   */
  rebind(values: Readonly<Record<string, HostTensor>>): void;
  /**
   * Answers as `model` from the next call on. Models with deltas of equal structure go on in the same session; another structure takes one of
   * its own. What was there stays when this fails. Not while a call is under way.
   * @throws {LfmError} PARENT_MISMATCH for a model that stands on another base
   */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Traces and compiles `f` of a model. Parameters that the model does not call live are compiled in; live ones are inputs, so that all models
 * on one base whose deltas have equal structure share one executable: {@link CompiledModel.swap} takes from one to the next.
 * @param f gets the inputs, the parameters and the model whose forward pass it shall trace: after a swap another one than at first
 */
export async function compileModel<const I extends Tree<Spec>, O extends Tree<Tensor>>(
  engine: Engine,
  model: Model,
  inputs: I,
  f: (inputs: MapTree<I, Spec, Tensor>, params: ParamTree, model: Model) => O,
  options: CompileOptions = {},
): Promise<CompiledModel<I, O>> {
  let current = await open(engine, model, inputs, f, options);
  const run: Executable["run"] = (feeds, into) => current.executable.run({ ...feeds, ...current.live }, into);
  const call = async (
    values: MapTree<I, Spec, HostTensor>,
    into?: MapTree<O, Tensor, HostTensor>,
  ): Promise<MapTree<O, Tensor, HostTensor>> => {
    const { output } = current;
    const buffers = into === undefined ? {} : hostTensors(into as Tree<HostTensor>, "out");
    const results = await run(hostTensors(values as Tree<HostTensor>, "in"), buffers);
    return mapTree<O, Tensor, HostTensor>(output, isTensor, (_t, path) => results[path]!, "out");
  };
  return Object.assign(call, {
    run,
    bound: () => current,
    rebind: (values: Readonly<Record<string, HostTensor>>) => {
      current = rebound(current, values);
    },
    swap: async (to: Model) => {
      if (to.info !== current.model.info)
        throw new LfmError(
          "PARENT_MISMATCH",
          `[@lfm/core] swap: this ${to.info.architecture} stands on another base than what was compiled`,
          {
            hint: "swap takes models made from the same one by withDeltas",
          },
        );
      const before = current;
      current = await open(engine, to, inputs, f, options);
      await before.executable.dispose();
    },
    dispose: () => current.executable.dispose(),
  });
}

interface Session<O> extends BoundModel {
  readonly executable: Executable;
  readonly output: O;
  /** Live parameters by the name of their input. */
  readonly live: Readonly<Record<string, HostTensor>>;
}

async function open<const I extends Tree<Spec>, O extends Tree<Tensor>>(
  engine: Engine,
  model: Model,
  inputs: I,
  f: (inputs: MapTree<I, Spec, Tensor>, params: ParamTree, model: Model) => O,
  options: CompileOptions,
): Promise<Session<O>> {
  const { frozen, specs, live: brought } = splitLive(model);
  const live = Object.fromEntries(Object.entries(brought).map(([name, t]) => [`live/${name}`, t]));
  const declared = new Declarations();
  const params: ParamTree = { ...declared.weights(frozen), ...declared.inputs(specs, "live") };
  const output = f(declared.inputs(inputs, "in"), params, model);
  const graph = declared.graph(output);
  const dims = bindSymbols(
    graph.inputs.filter(({ name }) => name in live),
    live,
  );
  return {
    model,
    graph,
    dims,
    output,
    live,
    executable: await engine.executables.share(graph, options, () => engine.compile(graph, options)),
  };
}

/** @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH, DTYPE_UNSUPPORTED */
function rebound<O>(session: Session<O>, values: Readonly<Record<string, HostTensor>>): Session<O> {
  const live = { ...session.live };
  for (const [name, value] of Object.entries(values)) {
    if (!(`live/${name}` in live))
      throw new LfmError("PARAM_NOT_FOUND", `[@lfm/core] rebind: "${name}" is no live parameter of this model`);
    live[`live/${name}`] = atHand(value);
  }
  const dims = bindSymbols(
    session.graph.inputs.filter(({ name }) => name in live),
    live,
  );
  return { ...session, live, dims };
}

/** The parameters of a model by whether they are compiled in, or bound at each run. */
export interface SplitParams {
  readonly frozen: Readonly<Record<string, Weight>>;
  /** What is bound, in memory. */
  readonly live: Readonly<Record<string, HostTensor>>;
  /** Types of what is bound; symbols in shapes where the size may differ. */
  readonly specs: Readonly<Record<string, Spec>>;
}

/** Tells what a model has frozen from what deltas brought, see {@link Model.live}. */
export function splitLive(model: Model): SplitParams {
  const frozen: Record<string, Weight> = {};
  const live: Record<string, HostTensor> = {};
  const specs: Record<string, Spec> = {};
  for (const [name, weight] of Object.entries(model.params)) {
    const shape = model.live?.[name];
    if (!shape) frozen[name] = weight;
    else {
      const value = atHand(weight);
      live[name] = value;
      specs[name] = { dtype: value.dtype, shape };
    }
  }
  return { frozen, live, specs };
}

/** In memory, in a type that goes into a graph. */
function atHand(weight: Weight): HostTensor {
  const t = loadWeight(weight);
  return isSmallFloat(t.dtype) || t.dtype === "f64" ? widenToF32(t) : t;
}

function hostTensors(tree: Tree<HostTensor>, prefix: string): Record<string, HostTensor> {
  return Object.fromEntries(flattenTree<HostTensor>(tree, isHostTensor, prefix));
}
