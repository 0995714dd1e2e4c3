/** Rotary positions (arXiv 2104.09864) in the half-split layout of Llama: one operation, which engines have a kernel for. */
import { type Dim, dimMul } from "../dims.js";
import { apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add, cast, cos, mul, neg, sin, sub } from "./elementwise.js";
import { concat, expandDims, reshape, split } from "./movement.js";
import { sum } from "./reduce.js";
import { requireDim, requireDtype, requireRank } from "./shape-rules.js";

export interface RotaryTables {
  /** f32[batch, seq, turned dimensions / 2] each. */
  readonly cos: Tensor;
  readonly sin: Tensor;
}

type NoAttrs = Record<string, never>;

/**
 * Each head's halves (a, b) become (a·cos − b·sin, b·cos + a·sin).
 * Inputs: x f32[batch, seq, heads·headDim]; cos and sin f32[batch, seq, headDim / 2]. Result: f32 of x's shape.
 */
export const rotaryOp: OpDef<NoAttrs> = {
  name: "rotary",
  infer: ([x, cosines, sines]) => {
    for (const t of [x!, cosines!, sines!]) {
      requireDtype(t, ["f32"], "rotary");
      requireRank(t, 3, "rotary");
    }
    for (const t of [cosines!, sines!])
      for (const axis of [0, 1]) requireDim(t.dim(axis), x!.dim(axis), "rotary, cosines and sines at each position");
    requireDim(sines!.dim(2), cosines!.dim(2), "rotary, angles");
    headsOf(x!, cosines!);
    return [{ dtype: "f32", shape: x!.shape }];
  },
  vjp: (node, [g], wanted) => {
    const [x, cosines, sines] = node.inputs as [Tensor, Tensor, Tensor];
    if (!g) return [];
    // Turned back.
    const dx = wanted[0] ? apply1(rotaryOp, [g, cosines, neg(sines)], {}) : undefined;
    if (!wanted[1] && !wanted[2]) return [dx];
    const [a, b] = halves(x, cosines);
    const [ga, gb] = halves(g, cosines);
    return [dx, sum(add(mul(ga, a), mul(gb, b)), 2), sum(sub(mul(gb, a), mul(ga, b)), 2)];
  },
  reference: ([x, cosines, sines]) => [referenceLoop(x!, cosines!, sines!)],
  onnx: (b, [x, cosines, sines], node) => {
    const [given, angles] = node.inputs as [Tensor, Tensor];
    const [batch, seq, half] = angles.shape as readonly [Dim, Dim, number];
    // The kernel looks rows of its tables up: here every position of every sequence has its own.
    const table = (t: string): string => b.node("Reshape", [t, b.i64([-1, half])]);
    const rows = b.node("Squeeze", [b.dims([dimMul(batch, seq)])]);
    const each = b.node("Range", [b.scalar(0, "i64"), rows, b.scalar(1, "i64")]);
    const at = b.node("Reshape", [each, b.dims([batch, seq])], { allowzero: 1 });
    const settings = { num_heads: headsOf(given, angles), rotary_embedding_dim: 2 * half };
    return [b.node("RotaryEmbedding", [x!, at, table(cosines!), table(sines!)], settings, "com.microsoft")];
  },
  tfjs: (tf, [x, cosines, sines], _attrs, [out]) => {
    const [batch, seq, half] = cosines!.shape as [number, number, number];
    const [a, b] = tf.split(tf.reshape(x, [batch, seq, -1, 2 * half]), 2, -1);
    const [c, s] = [tf.expandDims(cosines, 2), tf.expandDims(sines, 2)];
    const turned = tf.concat([tf.sub(tf.mul(a, c), tf.mul(b, s)), tf.add(tf.mul(b, c), tf.mul(a, s))], -1);
    return [tf.reshape(turned, out!.shape)];
  },
};

/** @throws {LfmError} SHAPE_MISMATCH where heads of that many angles do not fill the width */
function headsOf(x: Tensor, cosines: Tensor): number {
  const [width, half] = [x.dim(2) as number, cosines.dim(2) as number];
  const heads = Math.round(width / (2 * half));
  requireDim(2 * half * heads, width, "rotary, width of whole heads");
  return heads;
}

/** f32[batch, seq, heads, headDim / 2] each. */
function halves(x: Tensor, cosines: Tensor): readonly [Tensor, Tensor] {
  const [a, b] = split(reshape(x, [x.dim(0), x.dim(1), headsOf(x, cosines), 2 * (cosines.dim(2) as number)]), -1, 2);
  return [a!, b!];
}

function referenceLoop(x: RefArray, cosines: RefArray, sines: RefArray): Float64Array {
  const [width, half] = [x.shape[2]!, cosines.shape[2]!];
  const y = new Float64Array(x.data.length);
  for (let i = 0; i < y.length; i++) {
    const within = i % (2 * half);
    const at = Math.floor(i / width) * half + (within % half);
    const [c, s] = [cosines.data[at]!, sines.data[at]!];
    y[i] = within < half ? x.data[i]! * c - x.data[i + half]! * s : x.data[i]! * c + x.data[i - half]! * s;
  }
  return y;
}

/**
 * Cosines and sines of positions.
 * @param positions i32[batch, seq]
 * @param frequencies f32[turned dimensions / 2]: radians per position
 * @param scale multiplies both; default 1
 */
export function rotaryTables(positions: Tensor, frequencies: Tensor, scale = 1): RotaryTables {
  const angles = mul(expandDims(cast(positions, "f32"), -1), frequencies);
  const scaled = (x: Tensor): Tensor => (scale === 1 ? x : mul(x, scale));
  return { cos: scaled(cos(angles)), sin: scaled(sin(angles)) };
}

/**
 * Turns queries or keys f32[batch, seq, heads·headDim] by their positions; dimensions of a head behind those of the tables stay as they are.
 * @throws {LfmError} SHAPE_MISMATCH for tables of other positions
 */
export function applyRotary(x: Tensor, headDim: number, tables: RotaryTables): Tensor {
  const turned = 2 * (tables.cos.dim(2) as number);
  const turn = (y: Tensor): Tensor => apply1(rotaryOp, [y, tables.cos, tables.sin], {});
  if (turned === headDim) return turn(x);
  const [batch, seq, heads] = [x.dim(0), x.dim(1), (x.dim(2) as number) / headDim];
  const [front, rest] = split(reshape(x, [batch, seq, heads, headDim]), -1, [turned, headDim - turned]) as [Tensor, Tensor];
  const back = reshape(turn(reshape(front, [batch, seq, heads * turned])), [batch, seq, heads, turned]);
  return reshape(concat([back, rest], -1), x.shape);
}
