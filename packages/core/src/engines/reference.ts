import { shapeEval } from "../dims.js";
import { allocate, type DType, type HostTensor, hostTensor } from "../dtype.js";
import { LfmError } from "../errors.js";
import { feedBinder } from "../feeds.js";
import { concreteAttrs, type Graph } from "../graph.js";
import type { Weight } from "../model.js";
import { isSmallFloat, widen } from "../small-floats.js";
import { constantOp, type RefArray, type Tensor } from "../tensor.js";
import type { Engine } from "./engine.js";
import type { Executable } from "./executable.js";
import { Executables } from "./executables.js";

/** The oracle: interprets a graph with plain loops in f64. Slow on purpose, obviously right. */
export function referenceEngine(options: { /** Return f32 results as f64, unrounded. */ readonly unrounded?: boolean } = {}): Engine {
  const executables = new Executables();
  return {
    name: "reference",
    description: "reference (plain JavaScript, f64)",
    compile: async (graph) => {
      const frozen = graph.frozen.map((f) => [f.tensor, toReference(loadWeight(f.weight))] as const);
      return executable(graph, frozen, options.unrounded ?? false);
    },
    executables,
    dispose: () => executables.dispose(),
  };
}

function executable(graph: Graph, frozen: readonly (readonly [Tensor, RefArray])[], unrounded: boolean): Executable {
  const bind = feedBinder(graph);
  return {
    run: async (feeds, into) => {
      const env = bind(feeds);
      const values = new Map<Tensor, RefArray>(frozen);
      for (const { name, tensor } of graph.inputs) values.set(tensor, toReference(feeds[name]!));
      for (const node of graph.nodes) {
        if (node.op === (constantOp as unknown)) {
          values.set(node.outputs[0]!, toReference(node.attrs.value as HostTensor));
          continue;
        }
        const types = node.outputs.map((y) => ({ dtype: y.dtype, shape: shapeEval(y.shape, env) }));
        const results = node.op.reference(
          node.inputs.map((x) => values.get(x)!),
          concreteAttrs(node.attrs, env),
          types,
        );
        for (const [i, y] of node.outputs.entries()) values.set(y, { shape: types[i]!.shape, data: results[i]! });
      }
      const out: Record<string, HostTensor> = {};
      for (const { name, tensor } of graph.outputs) {
        const target = into?.[name];
        const value = values.get(tensor)!;
        if (target) fill(target, value);
        out[name] = target ?? fromReference(value, unrounded && tensor.dtype === "f32" ? "f64" : tensor.dtype);
      }
      return out;
    },
    dispose: async () => {},
  };
}

/** A weight in memory, read from its file if it lies in one. */
export function loadWeight(weight: Weight): HostTensor {
  return "read" in weight ? weight.read() : weight;
}

/** Widens to f64. Bit patterns of small floats become their values. */
function toReference(t: HostTensor): RefArray {
  const data = isSmallFloat(t.dtype) ? Float64Array.from(widen(t)) : Float64Array.from(t.data as ArrayLike<number>, Number);
  return { shape: t.shape, data };
}

function fromReference(value: RefArray, dtype: DType): HostTensor {
  const target = hostTensor(dtype, value.shape, allocate(dtype, value.data.length));
  fill(target, value);
  return target;
}

function fill(target: HostTensor, value: RefArray): void {
  if (!["f32", "f64", "i32", "bool", "i8", "u8"].includes(target.dtype)) {
    throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] the reference engine has no results of type ${target.dtype}`);
  }
  (target.data as Float32Array).set(value.data);
}
