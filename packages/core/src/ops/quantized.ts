/** Frozen weights in 8 and 4 bits: as f32, and products that use their integers. */
import { type Dim, shapeEqual, shapeSize } from "../dims.js";
import { f32, type HostTensor } from "../dtype.js";
import { LfmError } from "../errors.js";
import { type CodeBook, codeValues, type QuantizedMatrix, type QuantizedWeight } from "../quantize.js";
import { apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add, cast, full, mul } from "./elementwise.js";
import { firstOperand } from "./first-operand.js";
import { addElements, gather, oneHot } from "./index-ops.js";
import { matmul } from "./matmul.js";
import { broadcastTo, expandDims, reshape, transpose } from "./movement.js";
import { barrier } from "./recompute.js";
import { sum } from "./reduce.js";
import { aroundAxis, roundHalfEven } from "./reference-loops.js";
import { normalizeAxis, requireDim, requireDtype, requireRank } from "./shape-rules.js";

const refuse = (op: string): LfmError =>
  new LfmError("NOT_DIFFERENTIABLE", `[@lfm/core] ${op}: the integers of a quantised weight have no derivative`, {
    hint: "train something beside the frozen weight, or keep it in f32",
  });

interface AxisAttrs extends Record<string, unknown> {
  readonly axis: number;
}

/** codes i8[...]·scale f32[size of one axis] → f32[...]. ONNX Runtime keeps the integers and widens them in every run. */
export const dequantizeOp: OpDef<AxisAttrs> = {
  name: "dequantize",
  infer: ([codes, scale], { axis }) => {
    requireDtype(codes!, ["i8"], "dequantize");
    requireDtype(scale!, ["f32"], "dequantize");
    requireRank(scale!, 1, "dequantize, scales");
    requireDim(scale!.dim(0), codes!.shape[axis]!, "dequantize, scales");
    return [{ dtype: "f32", shape: codes!.shape }];
  },
  vjp: (node, [g], wanted) => {
    const { axis } = node.attrs;
    const others = node.inputs[0]!.shape.map((_, i) => i).filter((i) => i !== axis);
    return [undefined, g && wanted[1] ? sum(mul(g, cast(node.inputs[0]!, "f32")), others) : undefined];
  },
  reference: ([codes, scale], { axis }) => {
    const [, n, inner] = aroundAxis(codes!.shape, axis);
    return [codes!.data.map((q, i) => q * scale!.data[Math.floor(i / inner) % n]!)];
  },
  onnx: (b, inputs, node) => [b.node("DequantizeLinear", inputs, { axis: node.attrs.axis })],
  tfjs: (tf, [codes, scale], { axis }) => [
    tf.mul(
      tf.cast(codes, "float32"),
      tf.reshape(
        scale,
        codes!.shape.map((d, i) => (i === axis ? d : 1)),
      ),
    ),
  ],
};

interface BlockAttrs extends Record<string, unknown> {
  readonly shape: readonly Dim[];
  readonly book: CodeBook;
}

/** Two codes a byte, the first in the high half: codes u8[size / 2], scale f32[blocks] → f32[shape], blocks in row-major order. */
export const dequantizeBlocksOp: OpDef<BlockAttrs> = {
  name: "dequantizeBlocks",
  infer: ([codes, scale], { shape }) => {
    requireDtype(codes!, ["u8"], "dequantizeBlocks");
    requireDtype(scale!, ["f32"], "dequantizeBlocks");
    requireRank(codes!, 1, "dequantizeBlocks");
    requireRank(scale!, 1, "dequantizeBlocks, scales");
    const [bytes, blocks] = [codes!.dim(0) as number, scale!.dim(0) as number];
    requireDim(shapeSize(shape), 2 * bytes, "dequantizeBlocks, elements");
    if ((2 * bytes) % blocks !== 0)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] dequantizeBlocks: ${2 * bytes} elements are not ${blocks} equal blocks`);
    return [{ dtype: "f32", shape }];
  },
  vjp: (node, [g], wanted) => {
    const [codes, scale] = node.inputs as [Tensor, Tensor];
    if (!g || !wanted[1]) return [];
    const blocks = [scale.dim(0), -1];
    const values = apply1(dequantizeBlocksOp, [codes, full(scale.shape, 1)], node.attrs);
    return [undefined, sum(mul(reshape(g, blocks), reshape(values, blocks)), 1)];
  },
  reference: ([codes, scale], { book }) => {
    const values = codeValues[book];
    const size = 2 * codes!.data.length;
    const block = size / scale!.data.length;
    return [
      Float64Array.from({ length: size }, (_, i) => {
        const byte = codes!.data[i >> 1]!;
        return values[i % 2 === 0 ? byte >> 4 : byte & 15]! * scale!.data[Math.floor(i / block)]!;
      }),
    ];
  },
  onnx: (b, [codes, scale], node) => {
    const blocks = node.inputs[1]!.dim(0) as number;
    // Without the detour everything here is constant, and ONNX Runtime would keep the f32 weight instead of the bytes.
    const bytes = b.node("Cast", [b.atRunTime(codes!, node.inputs[0]!.shape)], { to: 6 });
    const pairs = b.node("Gather", [b.constant(pairTable(node.attrs.book)), bytes]);
    const scaled = b.node("Mul", [b.node("Reshape", [pairs, b.i64([blocks, -1])]), b.node("Reshape", [scale!, b.i64([-1, 1])])]);
    return [b.node("Reshape", [scaled, b.dims(node.attrs.shape)])];
  },
  tfjs: (tf, [codes, scale], { book }, [out]) => {
    const { data, shape } = pairTable(book);
    const pairs = tf.reshape(tf.gather(tf.tensor(data, [...shape], "float32"), codes), [scale!.shape[0]!, -1]);
    return [tf.reshape(tf.mul(pairs, tf.reshape(scale, [-1, 1])), out!.shape)];
  },
};

/** f32[256, 2]: the two values of every byte. */
function pairTable(book: CodeBook): HostTensor {
  const values = codeValues[book];
  return f32(Array.from({ length: 256 }, (_, byte) => [values[byte >> 4]!, values[byte & 15]!]).flat(), [256, 2]);
}

type NoAttrs = Record<string, never>;
const MATRIX = 5;

/**
 * x·W with W f32[k, n] in 8 bits. Inputs: x f32[..., k], then of W and, where it is stored too, of Wᵀ: codes i8[k, n], scale f32[n], mask f32[k], columns i32[c],
 * rows f32[c, n] (see {@link QuantizedMatrix}). Each row of x is quantised by its largest masked value; the columns that the mask leaves out
 * meet zeros there and are added as an f32 product.
 */
export const quantizedMatmulOp: OpDef<NoAttrs> = {
  name: "quantizedMatmul",
  infer: ([x, ...weights]) => {
    requireDtype(x!, ["f32"], "quantizedMatmul");
    const [forward, backward] = [weights.slice(0, MATRIX), weights.slice(MATRIX)];
    checkMatrix(forward);
    if (backward.length > 0) checkMatrix(backward);
    if (backward.length > 0 && !shapeEqual([...forward[0]!.shape].reverse(), backward[0]!.shape))
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] quantizedMatmul: ${backward[0]} is not the transpose of ${forward[0]}`);
    requireDim(x!.dim(-1), forward[0]!.dim(0), "quantizedMatmul, inner dimension");
    return [{ dtype: "f32", shape: [...x!.shape.slice(0, -1), forward[0]!.dim(1)] }];
  },
  // Rounding counts as the identity: the derivative of a product by W is a product by Wᵀ, which is quantised for itself.
  vjp: (node, [g], wanted) => {
    if (wanted.slice(1).includes(true)) throw refuse("quantizedMatmul");
    const weights = node.inputs.slice(1);
    if (!g) return [];
    if (weights.length > MATRIX) return [apply1(quantizedMatmulOp, [g, ...weights.slice(MATRIX), ...weights.slice(0, MATRIX)], {})];
    // No earlier than the gradient is there: all weights in f32 at a time would be the memory that was saved.
    const [codes, ...rest] = weights as [Tensor, Tensor, Tensor, Tensor, Tensor];
    return [matmul(g, dequantizedMatrix([barrier(codes, [g]), ...rest]), { transB: true })];
  },
  reference: ([x, codes, scale, mask, columns, rows]) => {
    const [k, n] = codes!.shape as [number, number];
    const y = new Float64Array((x!.data.length / k) * n);
    for (let r = 0; r < y.length / n; r++) {
      const row = x!.data.subarray(r * k, (r + 1) * k);
      const step = stepOf(row, mask!);
      for (let j = 0; j < n; j++) {
        let total = 0;
        for (let p = 0; p < k; p++) total += clampByte(roundHalfEven(Math.fround(row[p]! / step))) * codes!.data[p * n + j]!;
        let exact = 0;
        for (let c = 0; c < columns!.data.length; c++) exact += row[columns!.data[c]!]! * rows!.data[c * n + j]!;
        y[r * n + j] = total * step * scale!.data[j]! + exact;
      }
    }
    return [y];
  },
  onnx: (b, [given, codes, scale, mask, columns, rows], node) => {
    const { shape } = node.inputs[0]!;
    const [k, c] = [shape.at(-1)!, node.inputs[4]!.dim(0)];
    const x = shape.length === 2 ? given! : b.node("Reshape", [given!, b.dims([shapeSize(shape.slice(0, -1)), k])]);
    const last = b.i64([-1]);
    const masked = c === 0 ? x : b.node("Mul", [x, mask!]);
    const low = b.node("Neg", [b.node("ReduceMin", [masked, last], { keepdims: 1 })]);
    const largest = b.node("Max", [b.node("ReduceMax", [masked, last], { keepdims: 1 }), low, b.scalar(TINY, "f32")]);
    const steps = b.node("Mul", [b.node("Reshape", [largest, last]), b.scalar(1 / 127, "f32")]);
    // Unsigned with zero point 128: ONNX Runtime has no fast product of two signed operands.
    const zero = b.constant({ dtype: "u8", shape: [], data: Uint8Array.of(128) });
    const zeros = b.node("Expand", [zero, b.dims([shapeSize(shape.slice(0, -1))])]);
    const q = b.node("QuantizeLinear", [x, steps, zeros], { axis: 0 });
    const product = b.node("MatMulIntegerToFloat", [q, codes!, b.scalar(1 / 127, "f32"), scale!, zero], {}, "com.microsoft");
    const scaled = b.node("Mul", [product, largest]);
    const y = c === 0 ? scaled : b.node("Gemm", [b.node("Gather", [x, columns!], { axis: 1 }), rows!, scaled]);
    return [shape.length === 2 ? y : b.node("Reshape", [y, b.dims(node.outputs[0]!.shape)])];
  },
  tfjs: (tf, [given, codes, scale, mask, columns, rows], _attrs, [out]) => {
    const x = tf.reshape(given, [-1, codes!.shape[0]!]);
    const step = tf.div(tf.maximum(tf.max(tf.abs(tf.mul(x, mask)), 1, true), TINY), 127);
    const q = tf.clipByValue(tf.round(tf.div(x, step)), -128, 127);
    const y = tf.mul(tf.mul(tf.matMul(q, tf.cast(codes, "float32")), scale), step);
    const exact = columns!.shape[0] === 0 ? y : tf.add(y, tf.matMul(tf.gather(x, columns, 1), rows));
    return [tf.reshape(exact, out!.shape)];
  },
  tolerance: {
    ort: { relative: 1e-2, reason: "an element on a rounding edge may fall to the other side in f32" },
    tfjs: { relative: 1e-2, reason: "an element on a rounding edge may fall to the other side in f32" },
  },
};

/** A row of zeros has this for its largest value. */
const TINY = 1e-30;

function stepOf(row: Float64Array, mask: RefArray): number {
  let largest = TINY;
  for (let p = 0; p < row.length; p++) largest = Math.max(largest, Math.abs(row[p]! * mask.data[p]!));
  return Math.fround(largest / 127);
}

const clampByte = (q: number): number => Math.min(127, Math.max(-128, q));

function checkMatrix([codes, scale, mask, columns, rows]: readonly Tensor[]): void {
  requireDtype(codes!, ["i8"], "quantizedMatmul, codes");
  requireRank(codes!, 2, "quantizedMatmul, codes");
  requireDtype(columns!, ["i32"], "quantizedMatmul, columns");
  for (const t of [scale!, mask!, rows!]) requireDtype(t, ["f32"], "quantizedMatmul");
  requireDim(scale!.dim(0), codes!.dim(1), "quantizedMatmul, scales");
  requireDim(mask!.dim(0), codes!.dim(0), "quantizedMatmul, mask");
  requireDim(rows!.dim(0), columns!.dim(0), "quantizedMatmul, rows of outlier columns");
  requireDim(rows!.dim(1), codes!.dim(1), "quantizedMatmul, rows");
}

/**
 * x·W with both in 8 bits, 2–4 times as fast as in f32 on processors with VNNI or AMX from a few hundred rows on. Every row of x has a scale of
 * its own; outlier columns are multiplied in f32 (arXiv 2208.07339). Differentiable by x, of any order, rounding counted as the identity.
 * @param x f32[..., k]
 * @param w made by `quantizeWeight`
 * @returns f32[..., n]
 * @throws {LfmError} NOT_DIFFERENTIABLE when a derivative by the weight is asked
 */
export function quantizedMatmul(x: Tensor, w: QuantizedWeight<Tensor>): Tensor {
  return apply1(quantizedMatmulOp, [x, ...tensorsOf(w)], {});
}

function tensorsOf({ forward, backward }: QuantizedWeight<Tensor>): readonly Tensor[] {
  return [forward, ...(backward ? [backward] : [])].flatMap(({ codes, scale, mask, columns, rows }) => [codes, scale, mask, columns, rows]);
}

/** W f32[k, n] as it is multiplied by, rounding of the other side left out. */
function dequantizedMatrix([codes, scale, , columns, rows]: readonly Tensor[]): Tensor {
  const rounded = dequantize(codes!, scale!, 1);
  if (columns!.dim(0) === 0) return rounded;
  // Their rows of the codes are zeros.
  return addElements(rounded, broadcastTo(expandDims(columns!, 1), rows!.shape), rows!, 0);
}

interface StoredAttrs extends Record<string, unknown> {
  readonly layout: "out-in" | "in-out";
}

/** The first operand, which is a weight in f32; the others are what {@link quantizedMatmulOp} multiplies by instead. */
export const storedWeightOp: OpDef<StoredAttrs> = {
  name: "storedWeight",
  ...firstOperand,
  product: ({ inputs }, x) => apply1(quantizedMatmulOp, [x, ...inputs.slice(1)], {}),
  rows: ({ inputs, attrs }, indices) => {
    const [value, codes, scale, , columns, rows] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
    // Rows of the table are columns of W where it lies as a head does.
    if (attrs.layout !== "out-in") return gather(value, indices);
    const turned = (x: Tensor): Tensor => transpose(gather(x, indices, 1), [...indices.shape.map((_, i) => i + 1), 0]);
    const rounded = mul(cast(turned(codes), "f32"), expandDims(gather(scale, indices), -1));
    return columns.dim(0) === 0 ? rounded : add(rounded, matmul(turned(rows), oneHot(columns, codes.dim(0))));
  },
};

/**
 * A frozen weight that is stored in 8 bits: `linear` multiplies by it as {@link quantizedMatmul} does and `gather` takes rows of its codes, so
 * that it never lies there in f32. Whoever reads it otherwise (DoRA's norms) gets it widened in the run.
 * @param layout how the weight lies in its checkpoint: f32[out, in] or f32[in, out]
 */
export function storedWeight(w: QuantizedWeight<Tensor>, layout: "out-in" | "in-out"): Tensor {
  const tensors = tensorsOf(w);
  const value = dequantizedMatrix(tensors);
  return apply1(storedWeightOp, [layout === "in-out" ? value : transpose(value, [1, 0]), ...tensors], { layout });
}

/** codes i8[...] times scale f32[n] along `axis`, as f32. Made by `quantizeChannels`. Gradients reach the scale. */
export function dequantize(codes: Tensor, scale: Tensor, axis: number): Tensor {
  return apply1(dequantizeOp, [codes, scale], { axis: normalizeAxis(axis, codes.rank, "dequantize") });
}

/** A weight of `shape` from codes u8[size / 2] and scale f32[blocks], made by `quantizeBlocks`. Gradients reach the scale. */
export function dequantizeBlocks(codes: Tensor, scale: Tensor, shape: readonly Dim[], book: CodeBook): Tensor {
  return apply1(dequantizeBlocksOp, [codes, scale], { shape, book });
}
