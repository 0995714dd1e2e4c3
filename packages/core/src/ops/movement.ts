/** Operations that move data without arithmetic, and their transposes. */
import { type Dim, dimAdd, dimDiv, dimEqual, dimMul, dimSub, formatShape, shapeEqual, shapeSize } from "../dims.js";
import { sizeOf } from "../dtype.js";
import { LfmError } from "../errors.js";
import { apply, apply1, type OpDef, type RefArray, scalar, scalarValue, type Tensor } from "../tensor.js";
import { sum } from "./reduce.js";
import { aroundAxis, broadcastOffsets, forEachIndex, stridesOf } from "./reference-loops.js";
import { normalizeAxis, requireDim } from "./shape-rules.js";

export const reshapeOp: OpDef<{ readonly shape: readonly Dim[] }> = {
  name: "reshape",
  view: true,
  infer: ([x], { shape }) => {
    requireDim(shapeSize(shape), shapeSize(x!.shape), `reshape ${formatShape(x!.shape)} to ${formatShape(shape)}, elements`);
    return [{ dtype: x!.dtype, shape }];
  },
  vjp: (node, [g]) => [g && reshape(g, node.inputs[0]!.shape)],
  reference: ([x]) => [x!.data],
  onnx: (b, [x], node) => {
    // One symbolic dimension can be left to inference; a zero-sized tensor cannot, but symbols are never all zero-sized factors of -1.
    const shape = node.attrs.shape;
    const symbolic = shape.filter((d) => typeof d !== "number");
    if (symbolic.length === 1 && !shape.includes(0))
      return [b.node("Reshape", [x!, b.i64(shape.map((d) => (typeof d === "number" ? d : -1)))])];
    return [b.node("Reshape", [x!, b.dims(shape)], { allowzero: 1 })];
  },
  tfjs: (tf, [x], _attrs, [out]) => [tf.reshape(x, out!.shape)],
};

export const transposeOp: OpDef<{ readonly perm: readonly number[] }> = {
  name: "transpose",
  infer: ([x], { perm }) => {
    if (perm.length !== x!.rank || [...perm].sort((a, b) => a - b).some((p, i) => p !== i)) {
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] transpose: [${perm}] is no permutation of rank ${x!.rank}`);
    }
    return [{ dtype: x!.dtype, shape: perm.map((p) => x!.shape[p]!) }];
  },
  vjp: (node, [g]) => [
    g &&
      transpose(
        g,
        node.attrs.perm.map((_, i) => node.attrs.perm.indexOf(i)),
      ),
  ],
  reference: ([x], { perm }, [out]) => {
    const strides = stridesOf(x!.shape);
    const y = new Float64Array(x!.data.length);
    forEachIndex(out!.shape, (linear, index) => {
      let at = 0;
      for (let i = 0; i < perm.length; i++) at += index[i]! * strides[perm[i]!]!;
      y[linear] = x!.data[at]!;
    });
    return [y];
  },
  onnx: (b, [x], node) => [b.node("Transpose", [x!], { perm: node.attrs.perm })],
  tfjs: (tf, [x], { perm }) => [tf.transpose(x, [...perm])],
};

export const broadcastToOp: OpDef<{ readonly shape: readonly Dim[] }> = {
  name: "broadcastTo",
  infer: ([x], { shape }) => {
    const lead = shape.length - x!.rank;
    const fits = lead >= 0 && x!.shape.every((d, i) => dimEqual(d, 1) || dimEqual(d, shape[lead + i]!));
    if (!fits)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] broadcastTo: ${formatShape(x!.shape)} does not fill ${formatShape(shape)}`);
    return [{ dtype: x!.dtype, shape }];
  },
  vjp: (node, [g]) => [g && sumTo(g, node.inputs[0]!.shape)],
  reference: ([x], _attrs, [out]) => {
    const offsets = broadcastOffsets(x!.shape, out!.shape);
    return [Float64Array.from(offsets, (at) => x!.data[at]!)];
  },
  onnx: (b, [x], node) => [b.node("Expand", [x!, b.dims(node.attrs.shape)])],
  tfjs: (tf, [x], _attrs, [out]) => [
    x!.dtype === "bool" ? tf.cast(tf.broadcastTo(tf.cast(x, "int32"), out!.shape), "bool") : tf.broadcastTo(x, out!.shape),
  ],
};

export const concatOp: OpDef<{ readonly axis: number }> = {
  name: "concat",
  infer: (inputs, { axis }) => {
    const [first] = inputs;
    if (!first) throw new LfmError("SHAPE_MISMATCH", "[@lfm/core] concat of nothing");
    const shape = [...first.shape];
    for (const x of inputs.slice(1)) {
      if (x.rank !== first.rank || x.dtype !== first.dtype) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] concat: ${x} with ${first}`);
      x.shape.forEach((d, i) => {
        if (i !== axis) requireDim(d, first.shape[i]!, `concat, axis ${i}`);
      });
      shape[axis] = dimAdd(shape[axis]!, x.shape[axis]!);
    }
    return [{ dtype: first.dtype, shape }];
  },
  vjp: (node, [g]) =>
    g
      ? split(
          g,
          node.attrs.axis,
          node.inputs.map((x) => x.shape[node.attrs.axis]!),
        )
      : [],
  reference: (inputs, { axis }, [out]) => {
    const y = new Float64Array(sizeOf(out!.shape));
    const [outer, total, inner] = aroundAxis(out!.shape, axis);
    let start = 0;
    for (const x of inputs) {
      const chunk = x.shape[axis]! * inner;
      for (let o = 0; o < outer; o++) y.set(x.data.subarray(o * chunk, (o + 1) * chunk), o * total * inner + start);
      start += chunk;
    }
    return [y];
  },
  onnx: (b, inputs, node) => [b.node("Concat", inputs, { axis: node.attrs.axis })],
  tfjs: (tf, inputs, { axis }) => [tf.concat([...inputs], axis)],
};

/** Cuts an axis into consecutive pieces; a single node, so that its gradient is one concat and no pads. */
export const splitOp: OpDef<{ readonly axis: number; readonly sizes: readonly Dim[] }> = {
  name: "split",
  infer: ([x], { axis, sizes }) => {
    requireDim(
      sizes.reduce<Dim>((a, s) => dimAdd(a, s), 0),
      x!.shape[axis]!,
      "split, sum of sizes",
    );
    return sizes.map((s) => ({ dtype: x!.dtype, shape: x!.shape.map((d, i) => (i === axis ? s : d)) }));
  },
  vjp: (node, gs) => {
    if (gs.every((g) => g === undefined)) return [];
    return [
      concat(
        gs.map((g, i) => g ?? broadcastTo(scalar(0), node.outputs[i]!.shape)),
        node.attrs.axis,
      ),
    ];
  },
  reference: ([x], { axis, sizes }, outs) => {
    const [outer, total, inner] = aroundAxis(x!.shape, axis);
    let start = 0;
    return outs.map((out, i) => {
      const chunk = (sizes[i] as number) * inner;
      const y = new Float64Array(sizeOf(out.shape));
      for (let o = 0; o < outer; o++) y.set(x!.data.subarray(o * total * inner + start, o * total * inner + start + chunk), o * chunk);
      start += chunk;
      return y;
    });
  },
  onnx: (b, [x], node) => b.nodes("Split", [x!, b.dims(node.attrs.sizes)], node.attrs.sizes.length, { axis: node.attrs.axis }),
  tfjs: (tf, [x], { axis }, outs) =>
    tf.split(
      x,
      outs.map((o) => o.shape[axis]!),
      axis,
    ),
};

/** Consecutive positions [start, start + size) of one axis. */
export const sliceOp: OpDef<{ readonly axis: number; readonly start: Dim; readonly size: Dim }> = {
  name: "slice",
  infer: ([x], { axis, start, size }) => {
    const total = x!.shape[axis]!;
    if (typeof start === "number" && typeof size === "number" && typeof total === "number" && (start < 0 || start + size > total)) {
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] slice: ${start}..${start + size} of axis ${axis} with ${total}`);
    }
    return [{ dtype: x!.dtype, shape: x!.shape.map((d, i) => (i === axis ? size : d)) }];
  },
  vjp: (node, [g]) => {
    const { axis, start, size } = node.attrs;
    return [g && pad(g, axis, start, dimSub(node.inputs[0]!.shape[axis]!, dimAdd(start, size)))];
  },
  reference: ([x], { axis, start }, [out]) => [copyAxis(x!, axis, out!.shape, start as number, 0)],
  onnx: (b, [x], node) => {
    const { axis, start, size } = node.attrs;
    return [b.node("Slice", [x!, b.dims([start]), b.dims([dimAdd(start, size)]), b.i64([axis])])];
  },
  tfjs: (tf, [x], { axis, start }, [out]) => [
    tf.slice(
      x,
      x!.shape.map((_, i) => (i === axis ? start : 0)),
      [...out!.shape],
    ),
  ],
};

/** Zeros before and after one axis: the transpose of slice. */
export const padOp: OpDef<{ readonly axis: number; readonly before: Dim; readonly after: Dim }> = {
  name: "pad",
  infer: ([x], { axis, before, after }) => [
    { dtype: x!.dtype, shape: x!.shape.map((d, i) => (i === axis ? dimAdd(d, dimAdd(before, after)) : d)) },
  ],
  vjp: (node, [g]) => [g && slice(g, node.attrs.axis, node.attrs.before, node.inputs[0]!.shape[node.attrs.axis]!)],
  reference: ([x], { axis, before }, [out]) => [copyAxis(x!, axis, out!.shape, 0, before as number)],
  onnx: (b, [x], node) => {
    const { axis, before, after } = node.attrs;
    return [b.node("Pad", [x!, b.dims([before, after]), b.scalar(0, node.inputs[0]!.dtype), b.i64([axis])])];
  },
  tfjs: (tf, [x], { axis, before, after }) => [
    tf.pad(
      x,
      x!.shape.map((_, i) => (i === axis ? [before, after] : [0, 0])),
    ),
  ],
};

export const flipOp: OpDef<{ readonly axis: number }> = {
  name: "flip",
  infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  vjp: (node, [g]) => [g && flip(g, node.attrs.axis)],
  reference: ([x], { axis }) => {
    const [outer, n, inner] = aroundAxis(x!.shape, axis);
    const y = new Float64Array(x!.data.length);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < n; i++) y.set(x!.data.subarray((o * n + i) * inner, (o * n + i + 1) * inner), (o * n + n - 1 - i) * inner);
    return [y];
  },
  onnx: (b, [x], node) => [b.node("Slice", [x!, b.i64([-1]), b.i64([-2147483648]), b.i64([node.attrs.axis]), b.i64([-1])])],
  tfjs: (tf, [x], { axis }) => [tf.reverse(x, axis)],
};

/** Copies what two arrays share along `axis`, at offsets `from` and `to`; the rest stays 0. */
function copyAxis(x: RefArray, axis: number, shape: readonly number[], from: number, to: number): Float64Array {
  const [outer, n, inner] = aroundAxis(x.shape, axis);
  const m = shape[axis]!;
  const y = new Float64Array(sizeOf(shape));
  const length = Math.min(n - from, m - to) * inner;
  for (let o = 0; o < outer; o++) y.set(x.data.subarray((o * n + from) * inner, (o * n + from) * inner + length), (o * m + to) * inner);
  return y;
}

/** The same elements in another shape; at most one dimension may be -1. A reshape to the own shape records nothing. */
export function reshape(x: Tensor, shape: readonly Dim[]): Tensor {
  const at = shape.indexOf(-1);
  let target = shape;
  if (at >= 0) {
    const known = shape.reduce<Dim>((n, d, i) => (i === at ? n : dimMul(n, d)), 1);
    target = shape.map((d, i) => (i === at ? dimDiv(shapeSize(x.shape), known) : d));
  }
  if (shapeEqual(target, x.shape)) return x;
  const source = x.node.op === (reshapeOp as unknown) ? x.node.inputs[0]! : x;
  return shapeEqual(target, source.shape) ? source : apply1(reshapeOp, [source], { shape: target });
}

/** Permutes axes; default reverses them. The identity records nothing. */
export function transpose(x: Tensor, perm: readonly number[] = x.shape.map((_, i) => x.rank - 1 - i)): Tensor {
  return perm.every((p, i) => p === i) && perm.length === x.rank ? x : apply1(transposeOp, [x], { perm });
}

export function broadcastTo(x: Tensor, shape: readonly Dim[]): Tensor {
  return shapeEqual(x.shape, shape) ? x : apply1(broadcastToOp, [x], { shape });
}

/** The value that stands at every position of a scalar constant or of its broadcast; undefined for other tensors. */
export function uniformValue(x: Tensor): number | undefined {
  return scalarValue(x.node.op === (broadcastToOp as unknown) ? x.node.inputs[0]! : x);
}

/** Sums a broadcast result back to `shape`: the transpose of broadcasting. */
export function sumTo(x: Tensor, shape: readonly Dim[]): Tensor {
  if (shapeEqual(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < lead || (dimEqual(shape[i - lead]!, 1) && !dimEqual(x.shape[i]!, 1)));
  return reshape(sum(x, axes, { keepDims: false }), shape);
}

export function concat(xs: readonly Tensor[], axis: number): Tensor {
  if (xs.length === 1) return xs[0]!;
  return apply1(concatOp, xs, { axis: normalizeAxis(axis, xs[0]?.rank ?? 0, "concat") });
}

/** @param sizes one per piece, or a number of equal pieces */
export function split(x: Tensor, axis: number, sizes: readonly Dim[] | number): readonly Tensor[] {
  const a = normalizeAxis(axis, x.rank, "split");
  const pieces = typeof sizes === "number" ? Array.from({ length: sizes }, () => dimDiv(x.shape[a]!, sizes)) : sizes;
  return pieces.length === 1 ? [x] : apply(splitOp, [x], { axis: a, sizes: pieces });
}

/** Positions [start, start + size) of one axis. */
export function slice(x: Tensor, axis: number, start: Dim, size: Dim): Tensor {
  const a = normalizeAxis(axis, x.rank, "slice");
  return dimEqual(start, 0) && dimEqual(size, x.shape[a]!) ? x : apply1(sliceOp, [x], { axis: a, start, size });
}

export function pad(x: Tensor, axis: number, before: Dim, after: Dim): Tensor {
  const a = normalizeAxis(axis, x.rank, "pad");
  return dimEqual(before, 0) && dimEqual(after, 0) ? x : apply1(padOp, [x], { axis: a, before, after });
}

export function flip(x: Tensor, axis: number): Tensor {
  return apply1(flipOp, [x], { axis: normalizeAxis(axis, x.rank, "flip") });
}

/** Inserts an axis of size 1. */
export function expandDims(x: Tensor, axis: number): Tensor {
  const a = axis < 0 ? axis + x.rank + 1 : axis;
  return reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)]);
}

/** Drops an axis of size 1. */
export function squeeze(x: Tensor, axis: number): Tensor {
  const a = normalizeAxis(axis, x.rank, "squeeze");
  return reshape(
    x,
    x.shape.filter((_, i) => i !== a),
  );
}

/** Joins tensors of one shape along a new axis. */
export function stack(xs: readonly Tensor[], axis = 0): Tensor {
  return concat(
    xs.map((x) => expandDims(x, axis)),
    axis,
  );
}
