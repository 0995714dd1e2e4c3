/** Matrix products: batched with broadcasting, and the rank-2 form with a bias. */
import { type Dim, dimEqual, formatShape, shapeEqual } from "../dims.js";
import { sizeOf } from "../dtype.js";
import { LfmError } from "../errors.js";
import { apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add, mul, mulOp } from "./elementwise.js";
import { broadcastTo, reshape, reshapeOp, sumTo } from "./movement.js";
import { broadcastOffsets } from "./reference-loops.js";
import { broadcastShapes, requireDim, requireDtype, requireRank } from "./shape-rules.js";

interface MatmulAttrs extends Record<string, unknown> {
  readonly transA: boolean;
  readonly transB: boolean;
}

export const matmulOp: OpDef<MatmulAttrs> = {
  name: "matmul",
  infer: ([a, b], { transA, transB }) => {
    requireDtype(a!, ["f32"], "matmul");
    requireDtype(b!, ["f32"], "matmul");
    if (a!.rank < 2 || b!.rank < 2) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] matmul takes rank ≥ 2, got ${a} and ${b}`);
    const [m, k] = transA ? [a!.dim(-1), a!.dim(-2)] : [a!.dim(-2), a!.dim(-1)];
    const [k2, n] = transB ? [b!.dim(-1), b!.dim(-2)] : [b!.dim(-2), b!.dim(-1)];
    requireDim(
      k,
      k2,
      `matmul ${formatShape(a!.shape)}${transA ? "ᵀ" : ""} · ${formatShape(b!.shape)}${transB ? "ᵀ" : ""}, inner dimension`,
    );
    return [{ dtype: "f32", shape: [...broadcastShapes(a!.shape.slice(0, -2), b!.shape.slice(0, -2), "matmul"), m, n] }];
  },
  vjp: (node, [g], wanted) => {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const { transA, transB } = node.attrs;
    if (!g) return [];
    // A weight under a batch: one large product over all rows instead of a product per row and a sum.
    const flat = b.rank === 2 && a.rank > 2 && !transA;
    const { rows, factor } = transA || b.rank > 2 ? { rows: g, factor: undefined } : rowFactor(g, a.dim(-1));
    const da = (): Tensor => {
      const product = transA ? matmul(b, g, { transA: transB, transB: true }) : matmul(rows, b, { transB: !transB });
      return sumTo(factor ? mul(product, factor) : product, a.shape);
    };
    const db = (): Tensor => {
      const own = factor ? mul(a, factor) : a;
      const [x, y] = flat ? [reshape(own, [-1, a.dim(-1)]), reshape(rows, [-1, g.dim(-1)])] : [own, rows];
      return sumTo(transB ? matmul(y, x, { transA: true, transB: transA }) : matmul(x, y, { transA: !transA }), b.shape);
    };
    return [wanted[0] ? da() : undefined, wanted[1] ? db() : undefined];
  },
  reference: (inputs, { transA, transB }, [out]) => [matmulLoop(inputs[0]!, inputs[1]!, transA, transB, out!.shape)],
  onnx: (b, inputs, node) => {
    const { transA, transB } = node.attrs;
    if (!transA && !transB) return [b.node("MatMul", inputs)];
    if (node.inputs.every((x) => x.rank === 2)) return [b.node("Gemm", inputs, { transA: transA ? 1 : 0, transB: transB ? 1 : 0 })];
    return [b.node("FusedMatMul", inputs, { transA: transA ? 1 : 0, transB: transB ? 1 : 0 }, "com.microsoft")];
  },
  tfjs: (tf, [a, b], { transA, transB }, [out]) => {
    // tfjs broadcasts batches only for equal rank, and its plain backend wrongly where just some of several batch axes are 1.
    const rank = out!.shape.length;
    const batch = out!.shape.slice(0, -2);
    const lift = (x: { shape: number[] }): unknown => {
      const shape = [...new Array<number>(rank - x.shape.length).fill(1), ...x.shape];
      const own = shape.slice(0, -2);
      const lifted = tf.reshape(x, shape);
      return sizeOf(own) === 1 || own.every((d, i) => d === batch[i]) ? lifted : tf.broadcastTo(lifted, [...batch, ...shape.slice(-2)]);
    };
    return [tf.matMul(lift(a!), lift(b!), transA, transB)];
  },
};

/** a·b + bias for rank 2: one GEMM, the bias added inside. */
export const gemmOp: OpDef<MatmulAttrs> = {
  name: "gemm",
  infer: ([a, b, bias], attrs) => {
    requireRank(a!, 2, "gemm");
    requireRank(b!, 2, "gemm");
    const [type] = matmulOp.infer([a!, b!], attrs);
    broadcastShapes(type!.shape, bias!.shape, "gemm bias");
    return [type!];
  },
  vjp: (node, cotangents, wanted) => {
    const [g] = cotangents;
    const bias = node.inputs[2]!;
    const products = matmulOp.vjp!({ ...node, inputs: node.inputs.slice(0, 2) }, cotangents, wanted);
    return [products[0], products[1], g && wanted[2] ? sumTo(g, bias.shape) : undefined];
  },
  reference: (inputs, { transA, transB }, [out]) => {
    const y = matmulLoop(inputs[0]!, inputs[1]!, transA, transB, out!.shape);
    const offsets = broadcastOffsets(inputs[2]!.shape, out!.shape);
    return [y.map((v, i) => v + inputs[2]!.data[offsets[i]!]!)];
  },
  onnx: (b, inputs, node) => [b.node("Gemm", inputs, { transA: node.attrs.transA ? 1 : 0, transB: node.attrs.transB ? 1 : 0 })],
  tfjs: (tf, [a, b, bias], { transA, transB }) => [tf.add(tf.matMul(a, b, transA, transB), bias)],
};

/**
 * The cotangent of a product's rows as rows times a factor of each, where it was made so and the other side of the product is narrower: there the
 * factor costs less. The loss of a language model weighs its positions that way.
 */
function rowFactor(g: Tensor, width: Dim): { readonly rows: Tensor; readonly factor: Tensor | undefined } {
  const source = g.node.op === (reshapeOp as unknown) ? g.node.inputs[0]! : g;
  const [rows, factor] = source.node.inputs;
  const scaled = source.node.op === (mulOp as unknown) && factor!.rank === rows!.rank && dimEqual(factor!.dim(-1), 1);
  const narrower = typeof width === "number" && typeof g.dim(-1) === "number" && width < (g.dim(-1) as number);
  if (!scaled || !narrower || !shapeEqual(rows!.shape, source.shape) || !dimEqual(source.dim(-1), g.dim(-1)))
    return { rows: g, factor: undefined };
  return {
    rows: reshape(rows!, g.shape),
    factor: reshape(broadcastTo(factor!, [...source.shape.slice(0, -1), 1]), [...g.shape.slice(0, -1), 1]),
  };
}

function matmulLoop(a: RefArray, b: RefArray, transA: boolean, transB: boolean, shape: readonly number[]): Float64Array {
  const [m, n] = [shape.at(-2)!, shape.at(-1)!];
  const k = transA ? a.shape.at(-2)! : a.shape.at(-1)!;
  const batch = shape.slice(0, -2);
  const offsetsA = broadcastOffsets(a.shape.slice(0, -2), batch);
  const offsetsB = broadcastOffsets(b.shape.slice(0, -2), batch);
  const y = new Float64Array(sizeOf(shape));
  for (let o = 0; o < offsetsA.length; o++) {
    const baseA = offsetsA[o]! * m * k;
    const baseB = offsetsB[o]! * k * n;
    for (let i = 0; i < m; i++)
      for (let p = 0; p < k; p++) {
        const x = a.data[baseA + (transA ? p * m + i : i * k + p)]!;
        const at = (o * m + i) * n;
        for (let j = 0; j < n; j++) y[at + j] = y[at + j]! + x * b.data[baseB + (transB ? j * k + p : p * n + j)]!;
      }
  }
  return y;
}

export interface MatmulOptions {
  /** Use aᵀ (last two axes). */
  readonly transA?: boolean;
  /** Use bᵀ (last two axes). */
  readonly transB?: boolean;
}

/** a · b over the last two axes; leading axes broadcast. f32[..., m, k] · f32[..., k, n] → f32[..., m, n]. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  return apply1(matmulOp, [a, b], { transA: options.transA ?? false, transB: options.transB ?? false });
}

/**
 * x·W + b as one GEMM over all leading axes; as the product of its own where the weight is stored in another form (`storedWeight`).
 * @param x f32[..., in]
 * @param w f32[in, out], or f32[out, in] with layout "out-in" (torch's Linear)
 * @param bias f32[out]
 * @returns f32[..., out]
 */
export function linear(x: Tensor, w: Tensor, bias: Tensor | undefined, layout: "in-out" | "out-in" = "out-in"): Tensor {
  const transB = layout === "out-in";
  const rows = reshape(x, [-1, x.dim(-1)]);
  const attrs = { transA: false, transB };
  const own = w.node.op.product?.(w.node, rows);
  const y = own ? (bias ? add(own, bias) : own) : bias ? apply1(gemmOp, [rows, w, bias], attrs) : apply1(matmulOp, [rows, w], attrs);
  return reshape(y, [...x.shape.slice(0, -1), y.dim(-1)]);
}
