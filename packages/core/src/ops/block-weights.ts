/** Weights in blocks of 4 or 8 bits: as f32, and products with them. */
import type { BlockMatrix } from "../block-weights.js";
import type { Dim } from "../dims.js";
import { sizeOf } from "../dtype.js";
import { LfmError } from "../errors.js";
import type { OnnxLowering } from "../onnx/lowering.js";
import { apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add, cast, mul } from "./elementwise.js";
import { firstOperand } from "./first-operand.js";
import { addElements, gather, oneHot } from "./index-ops.js";
import { gemmOp, matmul } from "./matmul.js";
import { broadcastTo, reshape, transpose } from "./movement.js";
import { barrier } from "./recompute.js";
import { sum } from "./reduce.js";
import { requireDim, requireDtype, requireRank } from "./shape-rules.js";

interface BlockAttrs extends Record<string, unknown> {
  /** Inputs with one scale. */
  readonly block: number;
}

/** codes u8[..., blocks, bytes], scale f32[..., blocks], offset f32[..., blocks] (absent with 8 bits) → f32[..., blocks · block]. */
export const blockValuesOp: OpDef<BlockAttrs> = {
  name: "blockValues",
  infer: ([codes, scale, offset], { block }) => {
    checkBlocks(codes!, scale!, block);
    if (offset) requireDtype(offset, ["f32"], "blockValues, offsets");
    return [{ dtype: "f32", shape: [...scale!.shape.slice(0, -1), (scale!.dim(-1) as number) * block] }];
  },
  notDifferentiable: "the integers of a quantised weight have no derivative",
  reference: ([codes, scale, offset], { block }, [out]) => [
    Float64Array.from({ length: sizeOf(out!.shape) }, (_, i) => {
      const b = Math.floor(i / block);
      return codeAt(codes!, block, i) * scale!.data[b]! + (offset?.data[b] ?? 0);
    }),
  ],
  onnx: (b, [codes, scale, offset], node) => {
    const [stored, blocks] = node.inputs as [Tensor, Tensor];
    const { block } = node.attrs;
    const wide = (x: string): string => b.node("Unsqueeze", [x, b.i64([-1])]);
    // Without the detour everything here may be constant, and ONNX Runtime would keep the f32 weight instead of the bytes.
    const bytes = b.node("Cast", [b.atRunTime(codes!, stored.shape)], { to: isByte(stored, block) ? 1 : 6 });
    const values = isByte(stored, block)
      ? b.node("Sub", [bytes, b.scalar(128, "f32")])
      : b.node("Reshape", [b.node("Gather", [nibbles(b), bytes]), b.dims([...blocks.shape, block])]);
    const scaled = b.node("Mul", [values, wide(scale!)]);
    return [b.node("Reshape", [offset ? b.node("Add", [scaled, wide(offset)]) : scaled, b.dims(node.outputs[0]!.shape)])];
  },
  tfjs: (tf, [codes, scale, offset], { block }, [out]) => {
    const isByte = codes!.shape.at(-1) === block;
    const int = tf.cast(codes, "int32");
    const high = tf.floorDiv(int, tf.scalar(16, "int32"));
    const pairs = tf.stack([tf.sub(int, tf.mul(high, tf.scalar(16, "int32"))), high], -1);
    const values = isByte ? tf.sub(tf.cast(int, "float32"), 128) : tf.reshape(tf.cast(pairs, "float32"), [...scale!.shape, block]);
    const scaled = tf.mul(values, tf.expandDims(scale, -1));
    return [tf.reshape(offset ? tf.add(scaled, tf.expandDims(offset, -1)) : scaled, out!.shape)];
  },
};

interface BlockMatmulAttrs extends BlockAttrs {
  /** Rows of x are rounded to 8 bits in blocks: faster for few rows. */
  readonly rounded: boolean;
}

/**
 * x f32[m, k] · Wᵀ with W f32[n, k] as codes u8[n, blocks, bytes] times scale f32[n, blocks] → f32[m, n]. A code of 4 bits counts from 0, one of 8
 * bits from 128.
 */
export const blockMatmulOp: OpDef<BlockMatmulAttrs> = {
  name: "blockMatmul",
  infer: ([x, codes, scale], { block }) => {
    requireDtype(x!, ["f32"], "blockMatmul");
    requireRank(x!, 2, "blockMatmul");
    requireRank(codes!, 3, "blockMatmul, codes");
    checkBlocks(codes!, scale!, block);
    requireDim(x!.dim(1), (scale!.dim(1) as number) * block, "blockMatmul, inner dimension");
    return [{ dtype: "f32", shape: [x!.dim(0), codes!.dim(0)] }];
  },
  vjp: (node, [g], wanted) => {
    if (wanted[1] || wanted[2])
      throw new LfmError("NOT_DIFFERENTIABLE", "[@lfm/core] blockMatmul: the integers of a quantised weight have no derivative", {
        hint: "train something beside the frozen weight, or keep it in f32",
      });
    const [, codes, scale] = node.inputs as [Tensor, Tensor, Tensor];
    const { block } = node.attrs;
    // No earlier than the gradient is there: all weights in f32 at a time would be the memory that was saved.
    return [g && matmul(g, apply1(blockValuesOp, [barrier(codes, [g]), scale], { block }))];
  },
  reference: ([x, codes, scale], { block }) => {
    const [m, k] = x!.shape as [number, number];
    const n = codes!.shape[0]!;
    const y = new Float64Array(m * n);
    for (let r = 0; r < m; r++)
      for (let j = 0; j < n; j++)
        for (let p = 0; p < k; p++)
          y[r * n + j]! += x!.data[r * k + p]! * codeAt(codes!, block, j * k + p) * scale!.data[Math.floor((j * k + p) / block)]!;
    return [y];
  },
  onnx: (b, [x, codes, scale], node) => {
    const [given, stored, blocks] = node.inputs as [Tensor, Tensor, Tensor];
    const { block, rounded } = node.attrs;
    const [n, count] = blocks.shape as [number, number];
    const bits = isByte(stored, block) ? 8 : 4;
    const zeros = { dtype: "u8", shape: [n * Math.ceil(count / 2)], data: new Uint8Array(n * Math.ceil(count / 2)) } as const;
    const inputs = [x!, codes!, scale!, ...(bits === 4 ? [b.constant(zeros)] : [])];
    const attrs = { K: given.dim(1) as number, N: n, bits, block_size: block, accuracy_level: rounded ? 4 : 1 };
    return [b.node("MatMulNBits", inputs, attrs, "com.microsoft")];
  },
  tfjs: (tf, [x, codes, scale], { block }) => {
    const [values] = blockValuesOp.tfjs(tf, [codes!, scale!], { block }, [{ dtype: "f32", shape: [codes!.shape[0]!, x!.shape[1]!] }]);
    return [tf.matMul(x, values, false, true)];
  },
  tolerance: { ort: { relative: 2e-2, reason: "rows may be rounded to 8 bits" } },
};

interface StoredBlocksAttrs extends BlockMatmulAttrs {
  readonly layout: "out-in" | "in-out";
  readonly offset: boolean;
}

/** The first operand, which is a weight in f32; the others are its blocks, by which products are made instead. */
export const storedBlocksOp: OpDef<StoredBlocksAttrs> = {
  name: "storedBlocks",
  ...firstOperand,
  product: ({ inputs: [, codes, scale, ...rest], attrs }, x) => {
    const { block, rounded } = attrs;
    const offset = attrs.offset ? rest[0] : undefined;
    const [mask, columns, rows] = attrs.offset ? rest.slice(1) : rest;
    const others = mask ? mul(x, mask) : x;
    let y = apply1(blockMatmulOp, [others, codes!, scale!], { block, rounded });
    if (offset) y = added(sum(reshape(others, [-1, scale!.dim(1), block]), 2), widened(offset, x), y, true);
    return columns ? added(gather(x, columns, 1), rows!, y, false) : y;
  },
  rows: ({ inputs: [value, codes, scale, ...rest], attrs }, indices) => {
    if (attrs.layout !== "out-in") return gather(value!, indices);
    const [given, steps] = [gather(codes!, indices), gather(scale!, indices)];
    const offset = attrs.offset ? [cast(gather(rest[0]!, indices), "f32")] : [];
    const rounded = apply1(blockValuesOp, [given, steps, ...offset], { block: attrs.block });
    const [, columns, rows] = attrs.offset ? rest.slice(1) : rest;
    return columns ? add(rounded, matmul(transposedGather(rows!, indices), oneHot(columns, rounded.dim(-1)))) : rounded;
  },
};

export interface StoredBlocksOptions {
  /** How the weight lies in its checkpoint: f32[out, in] or f32[in, out]. */
  readonly layout: "out-in" | "in-out";
  /** Inputs with one scale. */
  readonly block: number;
  /** Rows are rounded to 8 bits in blocks before they are multiplied: faster for few rows. Default false. */
  readonly rounded?: boolean;
}

/**
 * A frozen weight that is stored in blocks (`quantizeToBlocks`): `linear` multiplies by them, `gather` takes rows of them; whoever reads it
 * otherwise (DoRA's norms) gets it widened in the run. Gradients go through the weight widened in the run.
 */
export function storedBlocks(w: BlockMatrix<Tensor>, { layout, block, rounded = false }: StoredBlocksOptions): Tensor {
  const { codes, scale, offset, outliers } = w;
  const rest = apply1(blockValuesOp, [codes, scale, ...(offset ? [cast(offset, "f32")] : [])], { block });
  // Codes at these columns are those of zeros.
  const value = outliers
    ? addElements(rest, broadcastTo(outliers.columns, [codes.dim(0), outliers.columns.dim(0)]), transpose(outliers.rows), 1)
    : rest;
  const others = [...(offset ? [offset] : []), ...(outliers ? [outliers.mask, outliers.columns, outliers.rows] : [])];
  const inputs = [layout === "out-in" ? value : transpose(value, [1, 0]), codes, scale, ...others];
  return apply1(storedBlocksOp, inputs, { layout, block, rounded, offset: offset !== undefined });
}

/** rows[:, indices] with the first axis last. */
function transposedGather(rows: Tensor, indices: Tensor): Tensor {
  return transpose(gather(rows, indices, 1), [...indices.shape.map((_, i) => i + 1), 0]);
}

/** a·b + y, in one product. */
function added(a: Tensor, b: Tensor, y: Tensor, transB: boolean): Tensor {
  return apply1(gemmOp, [a, b, y], { transA: false, transB });
}

/** A weight in halves as f32, widened in the run: else ONNX Runtime would keep it so. */
function widened(halves: Tensor, after: Tensor): Tensor {
  return cast(barrier(halves, [after]), "f32");
}

function isByte(codes: Tensor, block: number): boolean {
  return codes.dim(-1) === block;
}

function codeAt(codes: RefArray, block: number, i: number): number {
  if (codes.shape.at(-1) === block) return codes.data[i]! - 128;
  const byte = codes.data[i >> 1]!;
  return i % 2 === 0 ? byte & 15 : byte >> 4;
}

/** f32[256, 2]: the two codes of every byte. */
function nibbles(b: OnnxLowering): string {
  return b.constant({
    dtype: "f32",
    shape: [256, 2],
    data: Float32Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? (i >> 1) & 15 : i >> 5)),
  });
}

function checkBlocks(codes: Tensor, scale: Tensor, block: number): void {
  requireDtype(codes, ["u8"], "codes of blocks");
  requireDtype(scale, ["f32"], "scales of blocks");
  const bytes = codes.dim(-1);
  if (bytes !== block && bytes !== block / 2)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] blocks of ${block} have ${block} or ${block / 2} bytes, not ${bytes}`);
  scale.shape.forEach((d: Dim, i) => {
    requireDim(d, codes.shape[i]!, "scales of blocks");
  });
}
