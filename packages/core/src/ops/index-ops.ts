/** Reading and writing by position. Repeated indices add up in every gradient. */
import { type Dim, dimEqual, shapeSize } from "../dims.js";
import { sizeOf } from "../dtype.js";
import { LfmError } from "../errors.js";
import type { OnnxLowering } from "../onnx/lowering.js";
import { apply1, type OpDef, type OpNode, type Tensor } from "../tensor.js";
import { add, cast, equal, greaterEqual, logicalNot, mul } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { expandDims, reshape } from "./movement.js";
import { aroundAxis, forEachIndex, stridesOf } from "./reference-loops.js";
import { normalizeAxis, requireDim, requireDtype } from "./shape-rules.js";

/** A vocabulary up to this size takes its embedding gradient as a one-hot product: faster there than scattering. */
const ONE_HOT_LIMIT = 512;

interface AxisAttrs extends Record<string, unknown> {
  readonly axis: number;
}
interface ScatterAttrs extends AxisAttrs {
  readonly size: Dim;
}
interface GatherAttrs extends AxisAttrs {
  /** No index stands twice: slices can be written side by side instead of added up one by one. */
  readonly distinct: boolean;
  /** No gradient reaches this row. */
  readonly padding?: number;
}

type ScatterOptions = Partial<Pick<GatherAttrs, "distinct">>;
type GatherOptions = Partial<Pick<GatherAttrs, "distinct" | "padding">>;

/** Rows of `x` along `axis` chosen by i32 indices of any shape: x[..., indices, ...]. */
export const gatherOp: OpDef<GatherAttrs> = {
  name: "gather",
  infer: ([x, indices], { axis }) => {
    requireDtype(indices!, ["i32"], "gather");
    return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)] }];
  },
  vjp: (node, [g]) => {
    const { axis, distinct, padding } = node.attrs;
    const [x, indices] = node.inputs as [Tensor, Tensor];
    const updates = g && padding !== undefined ? mul(g, reached(indices, padding, axis, x.rank)) : g;
    return [updates && scatterAdd(indices, updates, axis, x.shape[axis]!, { distinct })];
  },
  index: ({ inputs: [x], attrs }) => ({ input: 1, size: x!.shape[attrs.axis]! }),
  reference: ([x, indices], { axis }) => {
    const [outer, n, inner] = aroundAxis(x!.shape, axis);
    const m = indices!.data.length;
    const y = new Float64Array(outer * m * inner);
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < m; j++) {
        const k = checkedIndex(indices!.data[j]!, n);
        y.set(x!.data.subarray((o * n + k) * inner, (o * n + k + 1) * inner), (o * m + j) * inner);
      }
    return [y];
  },
  onnx: (b, [x, indices], node) => [b.node("Gather", [x!, indices!], { axis: node.attrs.axis })],
  tfjs: (tf, [x, indices], { axis }, [out]) => [tf.reshape(tf.gather(x, tf.reshape(indices, [-1]), axis), out!.shape)],
};

/** 0 where an index is `padding`, else 1, in the shape of what is gathered with sizes of 1 around the indices. */
function reached(indices: Tensor, padding: number, axis: number, rank: number): Tensor {
  const ones = (n: number): Dim[] => new Array<Dim>(n).fill(1);
  return reshape(cast(logicalNot(equal(indices, padding)), "f32"), [...ones(axis), ...indices.shape, ...ones(rank - axis - 1)]);
}

/** Adds slices of `updates` into zeros of length `size` along `axis`: the transpose of gather. */
export const scatterAddOp: OpDef<ScatterAttrs & GatherAttrs> = {
  name: "scatterAdd",
  infer: ([indices, updates], { axis, size }) => {
    requireDtype(indices!, ["i32"], "scatterAdd");
    return [{ dtype: updates!.dtype, shape: [...updates!.shape.slice(0, axis), size, ...updates!.shape.slice(axis + indices!.rank)] }];
  },
  vjp: (node, [g]) => [undefined, g && gather(g, node.inputs[0]!, node.attrs.axis, { distinct: node.attrs.distinct })],
  index: ({ attrs }) => ({ input: 0, size: attrs.size }),
  reference: ([indices, updates], { axis }, [out]) => {
    const [outer, n, inner] = aroundAxis(out!.shape, axis);
    const m = indices!.data.length;
    const y = new Float64Array(sizeOf(out!.shape));
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < m; j++) {
        const to = (o * n + checkedIndex(indices!.data[j]!, n)) * inner;
        for (let i = 0; i < inner; i++) y[to + i] = y[to + i]! + updates!.data[(o * m + j) * inner + i]!;
      }
    return [y];
  },
  onnx: (b, [indices, updates], node) => {
    const { axis, distinct } = node.attrs;
    const [ix, up] = node.inputs as [Tensor, Tensor];
    const rank = node.outputs[0]!.rank;
    // ScatterND copies whole rows, but on 2 threads it loses updates for repeated indices (onnxruntime#18048).
    if (distinct && axis === 0) {
      const rows = b.node("Cast", [b.node("Unsqueeze", [indices!, b.i64([-1])])], { to: 7 });
      return [b.node("ScatterND", [zerosLike(b, node), rows, updates!])];
    }
    const shape = [...up.shape.slice(0, axis), shapeSize(ix.shape), ...up.shape.slice(axis + ix.rank)];
    const rows = ix.rank === 1 ? updates! : b.node("Reshape", [updates!, b.dims(shape)], { allowzero: 1 });
    const column = b.node("Reshape", [indices!, b.i64(Array.from({ length: rank }, (_, i) => (i === axis ? -1 : 1)))]);
    return [scatterElements(b, node, b.node("Expand", [column, b.dims(shape)]), rows, axis)];
  },
  tfjs: (tf, [indices, updates], { axis }, [out]) => {
    const m = sizeOf(indices!.shape);
    const [outer, n, inner] = aroundAxis(out!.shape, axis);
    const rows = tf.reshape(tf.transpose(tf.reshape(updates, [outer, m, inner]), [1, 0, 2]), [m, outer * inner]);
    const summed = tf.unsortedSegmentSum(rows, tf.reshape(indices, [m]), n);
    return [tf.reshape(tf.transpose(tf.reshape(summed, [n, outer, inner]), [1, 0, 2]), out!.shape)];
  },
};

/** y[i][j] = x[i][indices[i][j]] along `axis`; both have the same other dimensions. */
export const gatherElementsOp: OpDef<AxisAttrs> = {
  name: "gatherElements",
  infer: ([x, indices], { axis }) => {
    requireDtype(indices!, ["i32"], "gatherElements");
    indices!.shape.forEach((d, i) => {
      if (i !== axis) requireDim(d, x!.shape[i]!, `gatherElements, axis ${i}`);
    });
    return [{ dtype: x!.dtype, shape: indices!.shape }];
  },
  vjp: (node, [g]) => [g && scatterElementsAdd(node.inputs[1]!, g, node.attrs.axis, node.inputs[0]!.shape[node.attrs.axis]!)],
  index: ({ inputs: [x], attrs }) => ({ input: 1, size: x!.shape[attrs.axis]! }),
  reference: ([x, indices], { axis }) => {
    const strides = stridesOf(x!.shape);
    const y = new Float64Array(indices!.data.length);
    forEachIndex(indices!.shape, (linear, index) => {
      y[linear] = x!.data[elementAt(index, strides, axis, checkedIndex(indices!.data[linear]!, x!.shape[axis]!))]!;
    });
    return [y];
  },
  onnx: (b, [x, indices], node) => [b.node("GatherElements", [x!, indices!], { axis: node.attrs.axis })],
  tfjs: (tf, [x, indices], { axis }, [out]) => [
    tf.reshape(tf.gather(tf.reshape(x, [-1]), tf.reshape(flatPositions(tf, indices!, x!.shape, axis), [-1])), out!.shape),
  ],
};

/** Adds `updates` into zeros of length `size` along `axis` at element positions: the transpose of gatherElements. */
export const scatterElementsAddOp: OpDef<ScatterAttrs> = {
  name: "scatterElementsAdd",
  infer: ([indices, updates], { axis, size }) => {
    requireDtype(indices!, ["i32"], "scatterElementsAdd");
    return [{ dtype: updates!.dtype, shape: updates!.shape.map((d, i) => (i === axis ? size : d)) }];
  },
  vjp: (node, [g]) => [undefined, g && gatherElements(g, node.inputs[0]!, node.attrs.axis)],
  index: ({ attrs }) => ({ input: 0, size: attrs.size }),
  reference: ([indices, updates], { axis }, [out]) => {
    const strides = stridesOf(out!.shape);
    const y = new Float64Array(sizeOf(out!.shape));
    forEachIndex(indices!.shape, (linear, index) => {
      const at = elementAt(index, strides, axis, checkedIndex(indices!.data[linear]!, out!.shape[axis]!));
      y[at] = y[at]! + updates!.data[linear]!;
    });
    return [y];
  },
  onnx: (b, [indices, updates], node) => [scatterElements(b, node, indices!, updates!, node.attrs.axis)],
  tfjs: (tf, [indices, updates], { axis }, [out]) => {
    const flat = tf.reshape(flatPositions(tf, indices!, out!.shape, axis), [-1]);
    return [tf.reshape(tf.unsortedSegmentSum(tf.reshape(updates, [-1]), flat, sizeOf(out!.shape)), out!.shape)];
  },
};

/** `x` with `updates` added along `axis` at element positions. */
export const addElementsOp: OpDef<AxisAttrs> = {
  name: "addElements",
  infer: ([x, indices, updates]) => {
    requireDtype(indices!, ["i32"], "addElements");
    requireDtype(updates!, [x!.dtype], "addElements");
    return [{ dtype: x!.dtype, shape: x!.shape }];
  },
  vjp: (node, [g], wanted) => [g, undefined, g && wanted[2] ? gatherElements(g, node.inputs[1]!, node.attrs.axis) : undefined],
  index: ({ inputs: [x], attrs }) => ({ input: 1, size: x!.shape[attrs.axis]! }),
  reference: ([x, indices, updates], { axis }) => {
    const strides = stridesOf(x!.shape);
    const y = Float64Array.from(x!.data);
    forEachIndex(indices!.shape, (linear, index) => {
      const at = elementAt(index, strides, axis, checkedIndex(indices!.data[linear]!, x!.shape[axis]!));
      y[at] = y[at]! + updates!.data[linear]!;
    });
    return [y];
  },
  onnx: (b, inputs, node) => [b.node("ScatterElements", inputs, { axis: node.attrs.axis, reduction: "add" })],
  tfjs: (tf, [x, indices, updates], { axis }, [out]) => {
    const flat = tf.reshape(flatPositions(tf, indices!, out!.shape, axis), [-1]);
    return [tf.add(x, tf.reshape(tf.unsortedSegmentSum(tf.reshape(updates, [-1]), flat, sizeOf(out!.shape)), out!.shape))];
  },
};

/** 0, 1, … size−1 as i32[size]. */
export const iotaOp: OpDef<{ readonly size: Dim }> = {
  name: "iota",
  infer: (_inputs, { size }) => [{ dtype: "i32", shape: [size] }],
  vjp: () => [],
  reference: (_inputs, _attrs, [out]) => [Float64Array.from({ length: out!.shape[0]! }, (_, i) => i)],
  onnx: (b, _inputs, node) => {
    const { size } = node.attrs;
    if (typeof size === "number")
      return [b.constant({ dtype: "i32", shape: [size], data: Int32Array.from({ length: size }, (_, i) => i) })];
    const n = b.node("Squeeze", [b.dims([size]), b.i64([0])]);
    return [b.node("Cast", [b.node("Range", [b.scalar(0, "i64"), n, b.scalar(1, "i64")])], { to: 6 })];
  },
  tfjs: (tf, _inputs, _attrs, [out]) => [tf.range(0, out!.shape[0], 1, "int32")],
};

/** The value of a dimension as f32[]. */
export const dimScalarOp: OpDef<{ readonly dim: Dim }> = {
  name: "dimScalar",
  infer: () => [{ dtype: "f32", shape: [] }],
  vjp: () => [],
  reference: (_inputs, { dim }) => [Float64Array.of(dim as number)],
  onnx: (b, _inputs, node) => {
    const { dim } = node.attrs;
    return [typeof dim === "number" ? b.scalar(dim, "f32") : b.node("Squeeze", [b.node("Cast", [b.dims([dim])], { to: 1 }), b.i64([0])])];
  },
  tfjs: (tf, _inputs, { dim }) => [tf.scalar(dim as number, "float32")],
};

function scatterElements(b: OnnxLowering, node: OpNode<ScatterAttrs>, indices: string, updates: string, axis: number): string {
  return b.node("ScatterElements", [zerosLike(b, node), indices, updates], { axis, reduction: "add" });
}

function zerosLike(b: OnnxLowering, node: OpNode<ScatterAttrs>): string {
  const out = node.outputs[0]!;
  return b.node("Expand", [b.scalar(0, out.dtype), b.dims(out.shape)]);
}

function checkedIndex(k: number, n: number): number {
  if (!(k >= 0 && k < n)) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] index ${k} is outside 0..${n - 1}`);
  return k;
}

function elementAt(index: readonly number[], strides: readonly number[], axis: number, k: number): number {
  let at = 0;
  for (let i = 0; i < index.length; i++) at += (i === axis ? k : index[i]!) * strides[i]!;
  return at;
}

// biome-ignore lint/suspicious/noExplicitAny: the optional peer has no types here
function flatPositions(tf: any, indices: { readonly shape: number[] }, shape: readonly number[], axis: number): any {
  const strides = stridesOf(shape);
  let at = tf.mul(indices, tf.scalar(strides[axis]!, "int32"));
  indices.shape.forEach((n, i) => {
    if (i === axis) return;
    const view = indices.shape.map((_, j) => (j === i ? n : 1));
    at = tf.add(at, tf.reshape(tf.mul(tf.range(0, n, 1, "int32"), tf.scalar(strides[i]!, "int32")), view));
  });
  return at;
}

/**
 * x[..., indices, ...] along `axis` (default 0): embedding lookup. indices — i32, any shape.
 * @param distinct promises that no index stands twice, which makes the gradient cheaper; where one does, all but one of its gradients may be lost
 * @param padding an index whose row gets no gradient, as torch's `padding_idx`
 */
export function gather(x: Tensor, indices: Tensor, axis = 0, { distinct = false, padding }: GatherOptions = {}): Tensor {
  const attrs = { axis: normalizeAxis(axis, x.rank, "gather"), distinct };
  const own = attrs.axis === 0 ? x.node.op.rows?.(x.node, indices) : undefined;
  if (own) return own;
  return apply1(gatherOp, [x, indices], padding === undefined ? attrs : { ...attrs, padding });
}

/** Sums `updates` into `size` rows along `axis`. Small tables of rank-2 go through a one-hot product. @param distinct as {@link gather}'s */
export function scatterAdd(indices: Tensor, updates: Tensor, axis: number, size: Dim, { distinct = false }: ScatterOptions = {}): Tensor {
  if (!distinct && axis === 0 && typeof size === "number" && size <= ONE_HOT_LIMIT && updates.rank === indices.rank + 1) {
    const rows = reshape(updates, [-1, updates.dim(-1)]);
    return matmul(oneHot(reshape(indices, [-1]), size), rows, { transA: true });
  }
  return apply1(scatterAddOp, [indices, updates], { axis, size, distinct });
}

export function gatherElements(x: Tensor, indices: Tensor, axis = -1): Tensor {
  return apply1(gatherElementsOp, [x, indices], { axis: normalizeAxis(axis, x.rank, "gatherElements") });
}

export function scatterElementsAdd(indices: Tensor, updates: Tensor, axis: number, size: Dim): Tensor {
  return apply1(scatterElementsAddOp, [indices, updates], { axis: normalizeAxis(axis, updates.rank, "scatterElementsAdd"), size });
}

/** `x` with `updates` added at positions `indices` of `axis`; both have the other dimensions of `x`. */
export function addElements(x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor {
  return apply1(addElementsOp, [x, indices, updates], { axis: normalizeAxis(axis, x.rank, "addElements") });
}

export function iota(size: Dim): Tensor {
  return apply1(iotaOp, [], { size });
}

export function dimScalar(dim: Dim): Tensor {
  return apply1(dimScalarOp, [], { dim });
}

/** f32[..., classes] with 1 at the index. */
export function oneHot(indices: Tensor, classes: Dim): Tensor {
  return cast(equal(expandDims(indices, -1), iota(classes)), "f32");
}

/** True for i ≥ j − offset: bool[rows, columns], the causal mask with `offset` earlier positions. */
export function lowerTriangle(rows: Dim, columns: Dim, offset: Dim): Tensor {
  const i = reshape(iota(rows), [rows, 1]);
  const shift = dimEqual(offset, 0) ? i : addInt(i, offset);
  return greaterEqual(shift, reshape(iota(columns), [1, columns]));
}

function addInt(x: Tensor, offset: Dim): Tensor {
  return add(x, typeof offset === "number" ? offset : cast(dimScalar(offset), "i32"));
}
