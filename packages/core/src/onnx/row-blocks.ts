import type { Dim } from "../dims.js";
import { bytesPerElement, sizeOf } from "../dtype.js";
import { buildGraph, type Graph } from "../graph.js";
import { add } from "../ops/elementwise.js";
import { gemmOp, matmulOp } from "../ops/matmul.js";
import { concat, reshapeOp, split } from "../ops/movement.js";
import { sumOp } from "../ops/reduce.js";
import { opTable } from "../ops/table.js";
import { apply1, type OpDef, OpNode, type Tensor } from "../tensor.js";

export interface RowBlockOptions {
  /** Values of at least so many bytes are cut. Default 6 MiB: smaller ones stay in the caches of today's cores as they are. */
  readonly wide?: number;
  /** Bytes of a block. Default 2 MiB. */
  readonly block?: number;
  /** Most bytes of weights that may be packed once more per block. Default 160 MiB. */
  readonly weights?: number;
}

const elementwise = new Set<unknown>([...opTable.elementwise!, ...opTable.activations!]);

/**
 * Cuts chains of elementwise operations on values that no cache holds into blocks of rows, so that every pass but the first finds its operands in
 * the cache. Products with a weight at the ends of a chain are cut with it: their other side is narrow and costs little to cut and to join.
 * Values are the same; only sums over rows are added in another order. Graphs with symbolic shapes come back as they are.
 */
export function blockRows(graph: Graph, options: RowBlockOptions = {}): Graph {
  const { wide = 6 * 2 ** 20, block = 2 * 2 ** 20, weights = 160 * 2 ** 20 } = options;
  const groups = findGroups(graph, wide, block, weights);
  if (groups.size === 0) return graph;
  const whole = new Map<Tensor, Tensor>();
  const blocks = new Map<Tensor, readonly Tensor[]>();
  const wholeOf = (x: Tensor): Tensor => {
    const known = whole.get(x);
    if (known) return known;
    const parts = blocks.get(x);
    const made = parts ? concat(parts, 0) : x;
    whole.set(x, made);
    return made;
  };
  const blocksOf = (x: Tensor, n: number): readonly Tensor[] => {
    const known = blocks.get(x);
    if (known) return known;
    const made = split(wholeOf(x), 0, n);
    blocks.set(x, made);
    return made;
  };
  for (const node of graph.nodes) {
    const n = groups.get(node);
    if (n === undefined) {
      const inputs = node.inputs.map(wholeOf);
      if (inputs.every((x, i) => x === node.inputs[i])) continue;
      const again = new OpNode(node.op, inputs, node.attrs, node.outputs);
      node.outputs.forEach((y, i) => {
        whole.set(y, again.outputs[i]!);
      });
      continue;
    }
    const roles = rolesOf(node)!;
    const parts = Array.from({ length: n }, (_, i) => node.inputs.map((x, k) => (roles[k] === "rows" ? blocksOf(x, n)[i]! : wholeOf(x))));
    const [y] = node.outputs as [Tensor];
    if (roles === CONTRACTED) whole.set(y, contracted(node, parts));
    else {
      const attrs = node.op === (reshapeOp as unknown) ? { shape: [(y.dim(0) as number) / n, ...y.shape.slice(1)] } : node.attrs;
      blocks.set(
        y,
        parts.map((inputs) => apply1(node.op, inputs, attrs)),
      );
    }
  }
  return buildGraph(
    graph.inputs,
    graph.frozen,
    graph.outputs.map((o) => ({ name: o.name, tensor: wholeOf(o.tensor) })),
  );
}

type Role = "rows" | "whole";
/** Both sides of a product, or the one of a sum, whose rows are added up. */
const CONTRACTED: readonly Role[] = ["rows", "rows"];

/** Which inputs of a node are cut with its result; undefined where it cannot be cut. */
function rolesOf(node: OpNode): readonly Role[] | undefined {
  const [y] = node.outputs as [Tensor];
  const sized = (x: Tensor): boolean => x.shape.every((d) => typeof d === "number");
  if (!sized(y) || !node.inputs.every(sized)) return undefined;
  const is = (op: OpDef<never>): boolean => node.op === (op as unknown);
  const [a, b] = node.inputs as [Tensor, Tensor];
  if (is(reshapeOp as OpDef<never>)) return y.rank > 0 && a.rank > 0 ? ["rows"] : undefined;
  if (is(matmulOp as OpDef<never>) || is(gemmOp as OpDef<never>)) {
    const { transA, transB } = node.attrs as { readonly transA: boolean; readonly transB: boolean };
    if (b.rank !== 2) return undefined;
    if (!transA)
      return ["rows", "whole", ...node.inputs.slice(2).map((x): Role => (x.rank === 2 && x.dim(0) === y.dim(0) ? "rows" : "whole"))];
    return a.rank === 2 && !transB && is(matmulOp as OpDef<never>) ? CONTRACTED : undefined;
  }
  if (is(sumOp as OpDef<never>)) {
    const { axes, keepDims } = node.attrs as { readonly axes: readonly number[]; readonly keepDims: boolean };
    return axes[0] === 0 && !keepDims ? CONTRACTED : undefined;
  }
  if (!elementwise.has(node.op) || y.rank === 0) return undefined;
  return node.inputs.map((x) => (x.rank === y.rank && x.dim(0) === y.dim(0) && y.dim(0) !== 1 ? "rows" : "whole"));
}

function contracted(node: OpNode, parts: readonly (readonly Tensor[])[]): Tensor {
  if (node.op === (sumOp as unknown)) return parts.map((inputs) => apply1(node.op, inputs, node.attrs)).reduce((x, z) => add(x, z));
  let total: Tensor | undefined;
  for (const inputs of parts)
    total = total ? apply1(gemmOp, [...inputs, total], { transA: true, transB: false }) : apply1(node.op, inputs, node.attrs);
  return total!;
}

/** The nodes that are cut, with the number of their blocks. */
function findGroups(graph: Graph, wide: number, block: number, weights: number): Map<OpNode, number> {
  const consumers = new Map<Tensor, OpNode[]>();
  const producer = new Map<Tensor, OpNode>();
  for (const node of graph.nodes) {
    for (const y of node.outputs) producer.set(y, node);
    for (const x of new Set(node.inputs)) consumers.set(x, [...(consumers.get(x) ?? []), node]);
  }
  const bytes = (x: Tensor): number =>
    x.shape.every((d: Dim) => typeof d === "number") ? sizeOf(x.shape as number[]) * bytesPerElement[x.dtype] : 0;
  const frozen = new Set(graph.frozen.map((f) => f.tensor));
  const isWide = (x: Tensor): boolean => bytes(x) >= wide;
  const found = new Map<OpNode, number>();
  const seen = new Set<OpNode>();
  let budget = weights;
  for (const seed of graph.nodes) {
    if (seen.has(seed) || !elementwise.has(seed.op) || !isWide(seed.outputs[0]!) || !rolesOf(seed)) continue;
    const group = new Set<OpNode>();
    const queue = [seed];
    while (queue.length > 0) {
      const node = queue.pop()!;
      const roles = rolesOf(node);
      if (!roles || seen.has(node)) continue;
      seen.add(node);
      group.add(node);
      for (const x of node.inputs.filter((x, k) => roles[k] === "rows" && isWide(x))) {
        const made = producer.get(x);
        if (made) queue.push(made);
        queue.push(...(consumers.get(x) ?? []));
      }
      if (isWide(node.outputs[0]!) && roles !== CONTRACTED) queue.push(...(consumers.get(node.outputs[0]!) ?? []));
    }
    const rows = [...group].flatMap((node) => {
      const roles = rolesOf(node)!;
      return [...node.inputs.filter((_, k) => roles[k] === "rows"), ...(roles === CONTRACTED ? [] : node.outputs)];
    });
    const largest = rows.reduce((most, x) => Math.max(most, bytes(x)), 0);
    const n = commonDivisor(
      rows.map((x) => x.dim(0) as number),
      Math.floor(largest / block),
    );
    const packed = [...group].reduce((sum, node) => sum + node.inputs.reduce((s, x) => s + (frozen.has(x) ? bytes(x) : 0), 0), 0) * (n - 1);
    // Values that are wide where the group ends must be copied: a chain has to be longer than that to pay.
    const passes = [...group].filter((node) => elementwise.has(node.op) && isWide(node.outputs[0]!)).length;
    const ends = new Set(
      [...group].flatMap((node) => [
        ...node.inputs.filter((x, k) => rolesOf(node)![k] === "rows" && isWide(x) && !group.has(producer.get(x) as OpNode)),
        ...node.outputs.filter(
          (y) => isWide(y) && (consumers.get(y) ?? []).some((c) => !group.has(c) || rolesOf(c)![c.inputs.indexOf(y)] !== "rows"),
        ),
      ]),
    ).size;
    if (n < 2 || packed > budget || passes <= 3 * ends) continue;
    budget -= packed;
    for (const node of group) found.set(node, n);
  }
  return found;
}

/** The largest number up to `limit` that divides all. */
function commonDivisor(sizes: readonly number[], limit: number): number {
  for (let n = limit; n > 1; n--) if (sizes.every((s) => s % n === 0)) return n;
  return 1;
}
