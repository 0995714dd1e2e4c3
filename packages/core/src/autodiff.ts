import { formatShape, shapeEqual } from "./dims.js";
import { LfmError } from "./errors.js";
import { add, full, isFloat } from "./ops/elementwise.js";
import type { OpNode, Tensor } from "./tensor.js";

/**
 * Nodes that `roots` depend on, each after its inputs; `stops` are taken as given. Iterative: traces of unrolled loops are deep.
 */
export function topologicalOrder(roots: readonly Tensor[], stops: ReadonlySet<Tensor> = new Set()): OpNode[] {
  const order: OpNode[] = [];
  const state = new Map<OpNode, number>();
  const stack: OpNode[] = [];
  for (const root of roots) {
    if (!state.has(root.node) && !stops.has(root)) stack.push(root.node);
    while (stack.length > 0) {
      const node = stack[stack.length - 1]!;
      const next = state.get(node) ?? 0;
      if (next < node.inputs.length) {
        state.set(node, next + 1);
        const input = node.inputs[next]!;
        if (!state.has(input.node) && !stops.has(input)) stack.push(input.node);
      } else {
        stack.pop();
        if (next !== Infinity) order.push(node);
        state.set(node, Infinity);
      }
    }
  }
  return order;
}

/**
 * Vector–Jacobian product: Σ_k cotangents[k]·∂outputs[k]/∂wrt[i], written in operations, so it can be differentiated again.
 * @param cotangents one per output, of its shape
 * @returns one per `wrt`, of its shape; zeros where nothing depends on it
 * @throws {LfmError} NOT_DIFFERENTIABLE when the path runs through an op without derivative
 */
export function vjp(outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] {
  const order = topologicalOrder(outputs);
  const reaches = new Set<Tensor>(wrt);
  for (const node of order) {
    if (node.inputs.some((x) => reaches.has(x))) for (const y of node.outputs) if (isFloat(y.dtype)) reaches.add(y);
  }
  const gradients = new Map<Tensor, Tensor>();
  const accumulate = (x: Tensor, g: Tensor): void => {
    if (!shapeEqual(g.shape, x.shape)) throw new LfmError("INTERNAL", `[@lfm/core] gradient of ${x} has shape ${formatShape(g.shape)}`);
    const sofar = gradients.get(x);
    gradients.set(x, sofar ? add(sofar, g) : g);
  };
  outputs.forEach((y, i) => {
    if (reaches.has(y)) accumulate(y, cotangents[i]!);
  });
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    const wanted = node.inputs.map((x) => reaches.has(x));
    if (!wanted.includes(true)) continue;
    const gs = node.outputs.map((y) => gradients.get(y));
    if (gs.every((g) => g === undefined)) continue;
    if (!node.op.vjp) {
      throw new LfmError(
        "NOT_DIFFERENTIABLE",
        `[@lfm/core] ${node.op.name} has no derivative: ${node.op.notDifferentiable ?? "it is not smooth"}`,
      );
    }
    const parts = node.op.vjp(node, gs, wanted);
    node.inputs.forEach((x, k) => {
      if (wanted[k] && parts[k]) accumulate(x, parts[k]!);
    });
  }
  return wrt.map((x) => gradients.get(x) ?? full(x.shape, 0));
}

/** Gradients of a scalar. @throws {LfmError} SHAPE_MISMATCH when y is not a scalar */
export function grad(y: Tensor, wrt: readonly Tensor[]): Tensor[];
export function grad(y: Tensor, wrt: Tensor): Tensor;
export function grad<K extends string>(y: Tensor, wrt: Readonly<Record<K, Tensor>>): Record<K, Tensor>;
export function grad(
  y: Tensor,
  wrt: Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>,
): Tensor | Tensor[] | Record<string, Tensor> {
  if (y.rank !== 0) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] grad differentiates a scalar, got ${y}; reduce it first`);
  const seed = [full([], 1)];
  if (isTensor(wrt)) return vjp([y], seed, [wrt])[0]!;
  if (Array.isArray(wrt)) return vjp([y], seed, wrt as readonly Tensor[]);
  const names = Object.keys(wrt);
  const gradients = vjp(
    [y],
    seed,
    names.map((n) => (wrt as Record<string, Tensor>)[n]!),
  );
  return Object.fromEntries(names.map((n, i) => [n, gradients[i]!]));
}

/** The loss of `f` at `params` together with its gradients. */
export function valueAndGrad<K extends string>(
  f: (params: Readonly<Record<K, Tensor>>) => Tensor,
  params: Readonly<Record<K, Tensor>>,
): { readonly value: Tensor; readonly grads: Record<K, Tensor> } {
  const value = f(params);
  return { value, grads: grad(value, params) };
}

function isTensor(x: unknown): x is Tensor {
  return typeof x === "object" && x !== null && "node" in x && "dtype" in x && !Array.isArray(x);
}
