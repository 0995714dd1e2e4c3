import type { HostTensor } from "./dtype.js";
import { buildGraph, type Graph } from "./graph.js";
import type { Weight } from "./model.js";
import { placeholder, Tensor, type TensorType } from "./tensor.js";
import { flattenTree, type MapTree, mapTree, type Tree } from "./tree.js";

/** Type of an input: dtype and shape, symbols allowed. */
export type Spec = TensorType;

/** The graph of `f` without compiling it: for export and inspection. Inputs are called `in/PATH`, outputs `out/PATH`. */
export function trace<const I extends Tree<Spec>, O extends Tree<Tensor>, F extends Tree<Weight>>(
  inputs: I,
  f: (inputs: MapTree<I, Spec, Tensor>, frozen: MapTree<F, Weight, Tensor>) => O,
  frozen?: F,
): { readonly graph: Graph; readonly output: O } {
  const declared = new Declarations();
  const output = f(declared.inputs(inputs, "in"), declared.weights((frozen ?? {}) as F));
  return { graph: declared.graph(output), output };
}

/** The placeholders of one graph. */
export class Declarations {
  private readonly declared: { readonly name: string; readonly tensor: Tensor }[] = [];
  private readonly bound: { readonly name: string; readonly tensor: Tensor; readonly weight: Weight }[] = [];

  /** Inputs called `prefix/PATH`, given at each run. */
  inputs<const I extends Tree<Spec>>(specs: I, prefix: string): MapTree<I, Spec, Tensor> {
    return mapTree<I, Spec, Tensor>(
      specs,
      isSpec,
      (s, name) => {
        const tensor = placeholder(name, s.dtype, s.shape);
        this.declared.push({ name, tensor });
        return tensor;
      },
      prefix,
    );
  }

  /** Weights that are compiled in. */
  weights<F extends Tree<Weight>>(frozen: F): MapTree<F, Weight, Tensor> {
    return mapTree<F, Weight, Tensor>(
      frozen,
      isWeight,
      (weight, name) => {
        const tensor = placeholder(name, weight.dtype, weight.shape);
        this.bound.push({ name, tensor, weight });
        return tensor;
      },
      "frozen",
    );
  }

  /** What leads from them to the outputs, which are called `out/PATH`. */
  graph(output: Tree<Tensor>): Graph {
    const outputs = flattenTree<Tensor>(output, isTensor, "out").map(([name, tensor]) => ({ name, tensor }));
    return buildGraph(this.declared, this.bound, outputs);
  }
}

function isSpec(x: unknown): x is Spec {
  return typeof x === "object" && x !== null && typeof (x as Spec).dtype === "string" && Array.isArray((x as Spec).shape);
}

export function isHostTensor(x: unknown): x is HostTensor {
  return isSpec(x) && "data" in x;
}

function isWeight(x: unknown): x is Weight {
  return isSpec(x) && ("data" in x || "file" in x);
}

export function isTensor(x: unknown): x is Tensor {
  return x instanceof Tensor;
}
