/** Recomputation: activations that are made again when the backward pass wants them, instead of being kept. */
import { topologicalOrder, vjp } from "../autodiff.js";
import { LfmError } from "../errors.js";
import { apply, apply1, constantOp, type OpDef, OpNode, Tensor } from "../tensor.js";
import { flattenTree, type MapTree, mapTree, type Tree } from "../tree.js";
import { isFloat } from "./elementwise.js";

type NoAttrs = Record<string, never>;

/** The first operand, not before the others are there. */
export const barrierOp: OpDef<NoAttrs> = {
  name: "barrier",
  view: true,
  infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  vjp: (_node, [g]) => [g],
  reference: ([x]) => [x!.data],
  onnx: (b, [x, ...after], node) => {
    // x is one of those to wait for, because `after` may be constants: then a run would find out that it is x again.
    return [after.length === 0 ? x! : b.held(x!, node.outputs[0]!.shape, [x!, ...after])];
  },
  tfjs: (tf, [x]) => [tf.clone(x)],
};

/**
 * x, as a value of its own: equal expressions of x and of its barrier are not merged. With `after`, no engine computes what follows before
 * those tensors are there, and none can find out that it is x again. Costs no copy and has the derivative of the identity.
 */
export function barrier(x: Tensor, after: readonly Tensor[] = []): Tensor {
  return apply1(barrierOp, [x, ...after], {});
}

interface RecomputeAttrs extends Record<string, unknown> {
  /** The inputs are, in this order, results of the function, what it was given, and what else it read. */
  readonly results: number;
  readonly given: number;
}

/** Results as they are; the backward pass goes through a copy of what lies between them and the other inputs. */
export const recomputeOp: OpDef<RecomputeAttrs> = {
  name: "recompute",
  view: true,
  infer: (inputs, { results }) => inputs.slice(0, results).map((y) => ({ dtype: y.dtype, shape: y.shape })),
  vjp: (node, cotangents, wanted) => {
    const { results, given } = node.attrs;
    const ys = node.inputs.slice(0, results);
    const sources = node.inputs.slice(results);
    const asked = sources.map((_, i) => wanted[results + i]!);
    if (!asked.includes(true))
      throw new LfmError("NOT_DIFFERENTIABLE", "[@lfm/core] a derivative is asked by a tensor inside of recompute(…), which is not kept", {
        hint: "differentiate by what the function is given or what it reads, or return the tensor from it",
      });
    const reached = ys.map((_, i) => i).filter((i) => cotangents[i] !== undefined);
    const gs = reached.map((i) => cotangents[i]!);
    const again = sources.map((x, i) => (i < given ? barrier(x, gs) : x));
    const copies = replay(
      reached.map((i) => ys[i]!),
      new Map(sources.map((x, i) => [x, again[i]!])),
    );
    const parts = vjp(
      copies,
      gs,
      again.filter((_, i) => asked[i]),
    );
    let next = 0;
    const byInput = asked.map((is) => (is ? parts[next++] : undefined));
    // What comes before waits for the gradients of this part, so that its activations are gone by then.
    const done = byInput.slice(given).filter((g) => g !== undefined);
    return [...ys.map(() => undefined), ...byInput.map((g, i) => (g && i < given && done.length > 0 ? barrier(g, done) : g))];
  },
  reference: (inputs, { results }) => inputs.slice(0, results).map((y) => y.data),
  onnx: (_b, inputs, node) => inputs.slice(0, node.attrs.results),
  tfjs: (tf, inputs, { results }) => inputs.slice(0, results).map((y) => tf.clone(y)),
};

/**
 * f(inputs), whose intermediate values the backward pass computes again from the inputs instead of keeping them
 * (arXiv 1604.06174): less memory for one more forward pass. The gradients are the same.
 * f may read other tensors (weights, masks); they are kept, and so is what depends on them alone. Derivatives may be asked by the inputs, by
 * what f reads and by what follows; by a tensor inside of f they are not known. The second derivative keeps what the first computed again.
 * @param f pure; gets tensors in the structure of `inputs`, returns a tree of tensors
 * @example const y = recompute((x) => block(x), x);
 */
export function recompute<I extends Tree<Tensor>, O extends Tree<Tensor>>(
  f: (inputs: MapTree<I, Tensor, Tensor>) => O,
  inputs: I,
): MapTree<O, Tensor, Tensor> {
  const given: Tensor[] = [];
  const enter = (x: Tensor): Tensor => {
    const mark = barrier(x);
    given.push(mark);
    return mark;
  };
  const output = f(mapTree<I, Tensor, Tensor>(inputs, isTensor, enter));
  const results = [...new Set(flattenTree<Tensor>(output, isTensor).map(([, y]) => y))];
  const { inside, read } = between(results, new Set(given));
  const made = results.filter((y) => inside.has(y.node) && isFloat(y.dtype));
  const outer = apply(recomputeOp, [...made, ...given, ...read], { results: made.length, given: given.length });
  return mapTree<O, Tensor, Tensor>(output, isTensor, (y) => outer[made.indexOf(y)] ?? y);
}

/** The nodes on ways from `sources` to `ys`, each after its inputs, and what else they read, constants left out. */
function between(ys: readonly Tensor[], sources: ReadonlySet<Tensor>): { readonly inside: Set<OpNode>; readonly read: Tensor[] } {
  const inside = new Set<OpNode>();
  const read = new Set<Tensor>();
  const isInside = (x: Tensor): boolean => sources.has(x) || inside.has(x.node);
  for (const node of topologicalOrder(ys, sources)) {
    if (!node.inputs.some(isInside)) continue;
    inside.add(node);
    for (const x of node.inputs) if (!isInside(x) && x.node.op !== (constantOp as unknown)) read.add(x);
  }
  return { inside, read: [...read] };
}

/** The same expressions of `ys` over other sources. */
function replay(ys: readonly Tensor[], sources: ReadonlyMap<Tensor, Tensor>): Tensor[] {
  const copies = new Map<Tensor, Tensor>(sources);
  for (const node of between(ys, new Set(sources.keys())).inside) {
    const copy = new OpNode(
      node.op,
      node.inputs.map((x) => copies.get(x) ?? x),
      node.attrs,
      node.outputs,
    );
    for (const [i, y] of node.outputs.entries()) copies.set(y, copy.outputs[i]!);
  }
  return ys.map((y) => copies.get(y) ?? y);
}

function isTensor(x: unknown): x is Tensor {
  return x instanceof Tensor;
}
