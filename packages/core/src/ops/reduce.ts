/** Reductions along axes. */
import { type Dim, dimMul, shapeSize } from "../dims.js";
import { sizeOf } from "../dtype.js";
import type { Tf, TfTensor } from "../engines/tfjs-namespace.js";
import type { OnnxLowering } from "../onnx/lowering.js";
import { apply, apply1, type OpDef, type OpNode, type RefArray, type Tensor, type TensorType } from "../tensor.js";
import { cast, div, equal, exp, mul, sub } from "./elementwise.js";
import { dimScalar, scatterElementsAdd } from "./index-ops.js";
import { broadcastTo, flip, reshape } from "./movement.js";
import { aroundAxis, forEachIndex, stridesOf } from "./reference-loops.js";
import { normalizeAxis, requireDtype } from "./shape-rules.js";

interface ReduceAttrs extends Record<string, unknown> {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

interface ReduceSpec {
  readonly name: string;
  readonly initial: number;
  readonly combine: (acc: number, x: number) => number;
  readonly finish?: (acc: number, count: number) => number;
  readonly vjp: (node: OpNode<ReduceAttrs>, g: Tensor) => Tensor;
  readonly onnx: (b: OnnxLowering, x: string, axes: string, keepdims: number) => string;
  readonly tfjs: (tf: Tf, x: TfTensor, axes: number[], keepDims: boolean) => TfTensor;
}

function reduceOp(spec: ReduceSpec): OpDef<ReduceAttrs> {
  return {
    name: spec.name,
    infer: ([x], attrs) => {
      requireDtype(x!, ["f32", "i32"], spec.name);
      return [reducedType(x!, attrs)];
    },
    vjp: (node, [g]) => [g && spec.vjp(node, g)],
    reference: ([x], { axes }, [out]) => [reduceLoop(x!, axes, sizeOf(out!.shape), spec)],
    onnx: (b, [x], node) => [spec.onnx(b, x!, b.i64(node.attrs.axes), node.attrs.keepDims ? 1 : 0)],
    tfjs: (tf, [x], { axes, keepDims }) => [spec.tfjs(tf, x!, [...axes], keepDims)],
  };
}

function reducedType(x: Tensor, { axes, keepDims }: ReduceAttrs): TensorType {
  const shape = keepDims ? x.shape.map((d, i) => (axes.includes(i) ? 1 : d)) : x.shape.filter((_, i) => !axes.includes(i));
  return { dtype: x.dtype, shape };
}

function reduceLoop(
  x: RefArray,
  axes: readonly number[],
  outSize: number,
  spec: Pick<ReduceSpec, "initial" | "combine" | "finish">,
): Float64Array {
  const kept = stridesOf(x.shape.map((d, i) => (axes.includes(i) ? 1 : d)));
  const y = new Float64Array(outSize).fill(spec.initial);
  forEachIndex(x.shape, (linear, index) => {
    let at = 0;
    for (let i = 0; i < index.length; i++) if (!axes.includes(i)) at += index[i]! * kept[i]!;
    y[at] = spec.combine(y[at]!, x.data[linear]!);
  });
  const count = axes.reduce((n, a) => n * x.shape[a]!, 1);
  return spec.finish ? y.map((v) => spec.finish!(v, count)) : y;
}

/** Shape of `x` with the reduced axes kept as 1. */
function keptShape(x: Tensor, axes: readonly number[]): Dim[] {
  return x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
}

/** Spreads a reduced cotangent back over the input. */
function spread(node: OpNode<ReduceAttrs>, g: Tensor): Tensor {
  const x = node.inputs[0]!;
  return broadcastTo(reshape(g, keptShape(x, node.attrs.axes)), x.shape);
}

/** Gradient of max and min: shared equally among ties. */
function extremumVjp(node: OpNode<ReduceAttrs>, g: Tensor): Tensor {
  const x = node.inputs[0]!;
  const shape = keptShape(x, node.attrs.axes);
  const chosen = cast(equal(x, reshape(node.outputs[0]!, shape)), "f32");
  const share = div(chosen, sum(chosen, node.attrs.axes, { keepDims: true }));
  return mul(share, reshape(g, shape));
}

const plainSumOp = reduceOp({
  name: "sum",
  initial: 0,
  combine: (a, x) => a + x,
  vjp: spread,
  onnx: (b, x, axes, keepdims) => b.node("ReduceSum", [x, axes], { keepdims }),
  tfjs: (tf, x, axes, k) => tf.sum(x, axes, k),
});

export const sumOp: OpDef<ReduceAttrs> = {
  ...plainSumOp,
  // Sums over rows are the gradients of biases and norms: as the product of a row of ones they take half the time of ReduceSum.
  onnx: (b, inputs, node) => {
    const x = node.inputs[0]!;
    const lead = node.attrs.axes.length;
    const [rows, columns] = [shapeSize(x.shape.slice(0, lead)), shapeSize(x.shape.slice(lead))];
    const leading = node.attrs.axes.every((a, i) => a === i);
    const large = typeof columns === "number" && columns >= 32 && (typeof rows !== "number" || rows >= 64);
    if (!leading || !large || x.dtype !== "f32") return plainSumOp.onnx(b, inputs, node);
    const matrix = x.rank === 2 ? inputs[0]! : b.node("Reshape", [inputs[0]!, b.i64([-1, columns])]);
    const ones = b.node("Expand", [b.scalar(1, "f32"), b.dims([1, rows])]);
    return [b.node("Reshape", [b.node("MatMul", [ones, matrix]), b.dims(node.outputs[0]!.shape)])];
  },
};
export const meanOp = reduceOp({
  name: "mean",
  initial: 0,
  combine: (a, x) => a + x,
  finish: (a, n) => a / n,
  vjp: (node, g) => {
    const x = node.inputs[0]!;
    const count = node.attrs.axes.reduce<Dim>((n, a) => dimMul(n, x.shape[a]!), 1);
    return spread(node, div(g, typeof count === "number" ? count : dimScalar(count)));
  },
  onnx: (b, x, axes, keepdims) => b.node("ReduceMean", [x, axes], { keepdims }),
  tfjs: (tf, x, axes, k) => tf.mean(x, axes, k),
});
export const maxOp = reduceOp({
  name: "max",
  initial: -Infinity,
  combine: Math.max,
  vjp: extremumVjp,
  onnx: (b, x, axes, keepdims) => b.node("ReduceMax", [x, axes], { keepdims }),
  tfjs: (tf, x, axes, k) => tf.max(x, axes, k),
});
export const minOp = reduceOp({
  name: "min",
  initial: Infinity,
  combine: Math.min,
  vjp: extremumVjp,
  onnx: (b, x, axes, keepdims) => b.node("ReduceMin", [x, axes], { keepdims }),
  tfjs: (tf, x, axes, k) => tf.min(x, axes, k),
});

export const logSumExpOp: OpDef<ReduceAttrs> = {
  name: "logSumExp",
  infer: ([x], attrs) => {
    requireDtype(x!, ["f32"], "logSumExp");
    return [reducedType(x!, attrs)];
  },
  vjp: (node, [g]) => {
    const x = node.inputs[0]!;
    const shape = keptShape(x, node.attrs.axes);
    return [g && mul(exp(sub(x, reshape(node.outputs[0]!, shape))), reshape(g, shape))];
  },
  reference: ([x], { axes }, [out]) => {
    const top = reduceLoop(x!, axes, sizeOf(out!.shape), { initial: -Infinity, combine: Math.max });
    const kept = stridesOf(x!.shape.map((d, i) => (axes.includes(i) ? 1 : d)));
    const total = new Float64Array(top.length);
    forEachIndex(x!.shape, (linear, index) => {
      let at = 0;
      for (let i = 0; i < index.length; i++) if (!axes.includes(i)) at += index[i]! * kept[i]!;
      total[at] = total[at]! + Math.exp(x!.data[linear]! - top[at]!);
    });
    return [total.map((t, i) => top[i]! + Math.log(t))];
  },
  onnx: (b, [x], node) => [b.node("ReduceLogSumExp", [x!, b.i64(node.attrs.axes)], { keepdims: node.attrs.keepDims ? 1 : 0 })],
  tfjs: (tf, [x], { axes, keepDims }) => [tf.logSumExp(x, [...axes], keepDims)],
};

interface AxisAttrs extends Record<string, unknown> {
  readonly axis: number;
}

/** Index of the largest element; the first among equals. i32. */
export const argMaxOp: OpDef<AxisAttrs> = {
  name: "argMax",
  infer: ([x], { axis }) => [{ dtype: "i32", shape: x!.shape.filter((_, i) => i !== axis) }],
  vjp: () => [undefined],
  reference: ([x], { axis }, [out]) => {
    const [, n, inner] = aroundAxis(x!.shape, axis);
    return [
      Float64Array.from({ length: sizeOf(out!.shape) }, (_, at) => {
        const base = Math.floor(at / inner) * n * inner + (at % inner);
        let best = 0;
        for (let k = 1; k < n; k++) if (x!.data[base + k * inner]! > x!.data[base + best * inner]!) best = k;
        return best;
      }),
    ];
  },
  onnx: (b, [x], node) => [
    b.node("Cast", [b.node("ArgMax", [x!], { axis: node.attrs.axis, keepdims: 0, select_last_index: 0 })], { to: 6 }),
  ],
  tfjs: (tf, [x], { axis }) => [tf.argMax(x, axis)],
};

/** Running sum along an axis. */
export const cumSumOp: OpDef<AxisAttrs> = {
  name: "cumSum",
  infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  vjp: (node, [g]) => [g && flip(cumSum(flip(g, node.attrs.axis), node.attrs.axis), node.attrs.axis)],
  reference: ([x], { axis }) => {
    const [outer, n, inner] = aroundAxis(x!.shape, axis);
    const y = Float64Array.from(x!.data);
    for (let o = 0; o < outer; o++)
      for (let k = 1; k < n; k++)
        for (let i = 0; i < inner; i++) {
          const at = (o * n + k) * inner + i;
          y[at] = y[at]! + y[at - inner]!;
        }
    return [y];
  },
  onnx: (b, [x], node) => [b.node("CumSum", [x!, b.scalar(node.attrs.axis, "i32")])],
  tfjs: (tf, [x], { axis }) => [tf.cumsum(x, axis)],
};

/** The k largest values of the last axis, descending, and their positions. */
export const topKOp: OpDef<{ readonly k: number }> = {
  name: "topK",
  infer: ([x], { k }) => {
    requireDtype(x!, ["f32"], "topK");
    const shape = [...x!.shape.slice(0, -1), k];
    return [
      { dtype: x!.dtype, shape },
      { dtype: "i32", shape },
    ];
  },
  vjp: (node, [g]) => [g && scatterElementsAdd(node.outputs[1]!, g, -1, node.inputs[0]!.dim(-1))],
  reference: ([x], { k }) => {
    const n = x!.shape.at(-1)!;
    const rows = x!.data.length / n;
    const values = new Float64Array(rows * k);
    const places = new Float64Array(rows * k);
    for (let r = 0; r < rows; r++) {
      const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => x!.data[r * n + b]! - x!.data[r * n + a]! || a - b);
      for (let i = 0; i < k; i++) [values[r * k + i], places[r * k + i]] = [x!.data[r * n + order[i]!]!, order[i]!];
    }
    return [values, places];
  },
  onnx: (b, [x], node) => {
    const [values, places] = b.nodes("TopK", [x!, b.i64([node.attrs.k])], 2, { axis: -1, largest: 1, sorted: 1 });
    return [values!, b.node("Cast", [places!], { to: 6 })];
  },
  tfjs: (tf, [x], { k }) => {
    const { values, indices } = tf.topk(x, k, true);
    return [values, indices];
  },
};

export interface ReduceOptions {
  /** Keep reduced axes with size 1. Default false. */
  readonly keepDims?: boolean;
}

const reduceWith =
  (op: OpDef<ReduceAttrs>) =>
  (x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor => {
    const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === "number" ? [axes] : axes;
    const normal = list.map((a) => normalizeAxis(a, x.rank, op.name)).sort((a, b) => a - b);
    return normal.length === 0 ? x : apply1(op, [x], { axes: normal, keepDims: options.keepDims ?? false });
  };

/** All default to every axis. */
export const sum = reduceWith(sumOp);
export const mean = reduceWith(meanOp);
export const max = reduceWith(maxOp);
export const min = reduceWith(minOp);
export const logSumExp = reduceWith(logSumExpOp);

/** Biased variance (divisor n). */
export function variance(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  const centred = sub(x, mean(x, axes, { keepDims: true }));
  return mean(mul(centred, centred), axes, options);
}

export function argMax(x: Tensor, axis = -1): Tensor {
  return apply1(argMaxOp, [x], { axis: normalizeAxis(axis, x.rank, "argMax") });
}

export function cumSum(x: Tensor, axis: number): Tensor {
  return apply1(cumSumOp, [x], { axis: normalizeAxis(axis, x.rank, "cumSum") });
}

/** @returns values f32[…, k] descending and indices i32[…, k] along the last axis */
export function topK(x: Tensor, k: number): { readonly values: Tensor; readonly indices: Tensor } {
  const [values, indices] = apply(topKOp, [x], { k });
  return { values: values!, indices: indices! };
}
