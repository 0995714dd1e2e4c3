import { type DimEnv, shapeEval } from "./dims.js";
import { bytesPerElement, sizeOf } from "./dtype.js";
import type { Graph } from "./graph.js";
import { constantOp, type Tensor } from "./tensor.js";

/** Memory of the values in between: of what is neither input, weight, constant nor output. */
export interface Liveness {
  /** Bytes held while each node of the graph runs, its results included. */
  readonly bytes: readonly number[];
  readonly peak: number;
}

/**
 * How much memory a graph holds when its nodes run in their order and every value is freed after its last use, as the engines do it.
 * Views (reshapes and the like) cost nothing and keep what they show.
 * @param env values of the graph's symbols
 * @throws {LfmError} SHAPE_MISMATCH for a symbol without value
 */
export function liveness(graph: Graph, env: DimEnv = {}): Liveness {
  const owner = new Map<Tensor, Tensor>();
  const ownerOf = (x: Tensor): Tensor => owner.get(x) ?? x;
  for (const node of graph.nodes) if (node.op.view) for (const [i, y] of node.outputs.entries()) owner.set(y, ownerOf(node.inputs[i]!));
  const elsewhere = new Set<Tensor>([...graph.inputs, ...graph.frozen, ...graph.outputs].map((v) => ownerOf(v.tensor)));
  const first = new Map<Tensor, number>();
  const last = new Map<Tensor, number>();
  for (const [i, node] of graph.nodes.entries()) {
    if (node.op === (constantOp as unknown)) for (const y of node.outputs) elsewhere.add(y);
    for (const x of [...node.inputs, ...node.outputs].map(ownerOf)) {
      if (elsewhere.has(x)) continue;
      if (!first.has(x)) first.set(x, i);
      last.set(x, i);
    }
  }
  const change = new Array<number>(graph.nodes.length + 1).fill(0);
  for (const [x, from] of first) {
    const size = sizeOf(shapeEval(x.shape, env)) * bytesPerElement[x.dtype];
    change[from] = change[from]! + size;
    change[last.get(x)! + 1] = change[last.get(x)! + 1]! - size;
  }
  let held = 0;
  const bytes = graph.nodes.map((_, i) => (held += change[i]!));
  return { bytes, peak: bytes.reduce((a, b) => Math.max(a, b), 0) };
}
