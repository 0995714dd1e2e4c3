/** Causal self-attention as one operation: engines have a kernel for it that never touches hidden keys; its backward pass is products. */
import { type Dim, dimMul, dimSub } from "../dims.js";
import { LfmError } from "../errors.js";
import type { OnnxLowering } from "../onnx/lowering.js";
import { apply, type OpDef, type OpNode, type RefArray, type Tensor } from "../tensor.js";
import { add, mul, sub } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { reshape, sumTo, transpose } from "./movement.js";
import { sum } from "./reduce.js";
import { requireDim, requireDtype, requireRank } from "./shape-rules.js";

export interface CausalAttentionAttrs extends Record<string, unknown> {
  readonly heads: number;
  readonly kvHeads: number;
  /** Multiplies the scores. */
  readonly scale: number;
}

/** Adds to the scores of keys that come after their query where the engine has no kernel of its own. */
const HIDDEN = -1e9;

/**
 * softmax(q·kᵀ·scale + bias)·v over the keys up to each query's own position; later keys weigh exactly 0.
 * Inputs: q f32[batch, seq, heads·headDim]; k, v f32[batch, seq, kvHeads·headDim]; bias f32[batch, 1, seq, seq] (may be left out).
 * Results: mixed f32[batch, seq, heads·headDim], weights f32[batch, heads, seq, seq], keys and values f32[batch, kvHeads, seq, headDim].
 */
export const causalAttentionOp: OpDef<CausalAttentionAttrs> = {
  name: "causalAttention",
  infer: ([q, k, v, bias], { heads, kvHeads }) => {
    for (const x of [q!, k!, v!]) {
      requireDtype(x, ["f32"], "causalAttention");
      requireRank(x, 3, "causalAttention");
    }
    const [batch, seq, width] = q!.shape as readonly [Dim, Dim, number];
    const headDim = width / heads;
    if (!Number.isInteger(headDim) || heads % kvHeads !== 0)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] causalAttention: ${heads} heads and ${kvHeads} key heads over a width of ${width}`);
    for (const x of [k!, v!]) {
      requireDim(x.dim(1), seq, "causalAttention, keys");
      requireDim(x.dim(2), kvHeads * headDim, "causalAttention, width of keys");
    }
    if (bias) requireDim(bias.dim(3), seq, "causalAttention, bias");
    const kv = { dtype: "f32" as const, shape: [batch, kvHeads, seq, headDim] };
    return [{ dtype: "f32", shape: q!.shape }, { dtype: "f32", shape: [batch, heads, seq, seq] }, kv, kv];
  },
  vjp: (node, cotangents, wanted) => {
    const [gMixed, gWeights, gKeys, gValues] = cotangents;
    const { heads, kvHeads, scale } = node.attrs;
    const [q] = node.inputs as [Tensor];
    const [mixed, weights, keys, values] = node.outputs as [Tensor, Tensor, Tensor, Tensor];
    const [batch, seq, headDim] = [q.dim(0), q.dim(1), keys.dim(3) as number];
    // Queries that share a key head are rows of one product.
    const grouped = (x: Tensor): Tensor => reshape(x, [batch, kvHeads, dimMul(seq, heads / kvHeads), x.dim(3)]);
    const g = gMixed && byHead(gMixed, heads);
    const parts: Tensor[] = [];
    if (g) parts.push(reshape(matmul(grouped(g), values, { transB: true }), weights.shape));
    if (gWeights) parts.push(gWeights);
    let dScores: Tensor | undefined;
    if (parts.length > 0 && (wanted[0] || wanted[1] || wanted[3])) {
      const dWeights = parts.reduce((a, b) => add(a, b));
      // Σ over keys of weights·dWeights; where only the mixed values have a gradient it is Σ over a head of mixed·gMixed, which is smaller.
      const shared =
        gMixed && !gWeights
          ? transpose(sum(reshape(mul(gMixed, mixed), [batch, seq, heads, headDim]), -1, { keepDims: true }), [0, 2, 1, 3])
          : sum(mul(dWeights, weights), -1, { keepDims: true });
      dScores = mul(weights, sub(dWeights, shared));
    }
    const scaled = dScores && grouped(dScores);
    const dq = (): Tensor | undefined => scaled && mul(merged(reshape(matmul(scaled, keys), [batch, heads, seq, headDim])), scale);
    const dk = (): Tensor | undefined => {
      const own = scaled && mul(matmul(scaled, grouped(byHead(q, heads)), { transA: true }), scale);
      const total = own && gKeys ? add(own, gKeys) : (own ?? gKeys);
      return total && merged(total);
    };
    const dv = (): Tensor | undefined => {
      const own = g && matmul(grouped(weights), grouped(g), { transA: true });
      const total = own && gValues ? add(own, gValues) : (own ?? gValues);
      return total && merged(total);
    };
    const bias = node.inputs[3];
    return [
      wanted[0] ? dq() : undefined,
      wanted[1] ? dk() : undefined,
      wanted[2] ? dv() : undefined,
      bias && wanted[3] && dScores ? sumTo(dScores, bias.shape) : undefined,
    ];
  },
  reference: (inputs, attrs, [out]) => referenceLoop(inputs, attrs, out!.shape as readonly [number, number, number]),
  onnx: (b, inputs, node) => {
    const { heads, kvHeads, scale } = node.attrs;
    const headDim = node.outputs[2]!.dim(3) as number;
    if (headDim % 8 !== 0) return composed(b, inputs, node);
    const [batch, seq] = [node.inputs[0]!.dim(0), node.inputs[0]!.dim(1)];
    const last = b.node("Cast", [b.dims([dimSub(seq, 1)])], { to: 6 });
    const lengths = b.node("Expand", [last, b.dims([batch])]);
    const total = b.node("Cast", [b.dims([seq])], { to: 6 });
    const [q, k, v, bias] = inputs;
    const all = [q!, k!, v!, "", "", lengths, total, ...(bias ? ["", "", "", bias] : [])];
    const settings = { num_heads: heads, kv_num_heads: kvHeads, scale: { float: scale }, qk_output: 2 };
    const [mixed, keys, values, weights] = b.nodes("GroupQueryAttention", all, 4, settings, "com.microsoft");
    return [mixed!, weights!, keys!, values!];
  },
  tfjs: (tf, [q, k, v, bias], { heads, kvHeads, scale }, [out]) => {
    const [batch, seq, width] = out!.shape as readonly [number, number, number];
    const split = (x: unknown, n: number): unknown => tf.transpose(tf.reshape(x, [batch, seq, n, width / heads]), [0, 2, 1, 3]);
    const [keys, values] = [split(k, kvHeads), split(v, kvHeads)];
    const rows = [batch, kvHeads, (heads / kvHeads) * seq];
    const scores = tf.mul(tf.matMul(tf.reshape(split(q, heads), [...rows, width / heads]), keys, false, true), scale);
    const seen = tf.linalg.bandPart(tf.ones([seq, seq]), -1, 0);
    const hidden = tf.add(tf.reshape(scores, [batch, heads, seq, seq]), tf.mul(tf.sub(seen, 1), -HIDDEN));
    const biased = bias ? tf.add(hidden, bias) : hidden;
    const e = tf.mul(tf.exp(tf.sub(biased, tf.max(biased, -1, true))), seen);
    const weights = tf.div(e, tf.sum(e, -1, true));
    const mixed = tf.reshape(tf.matMul(tf.reshape(weights, [...rows, seq]), values), [batch, heads, seq, width / heads]);
    return [tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch, seq, width]), weights, keys, values];
  },
};

/** f32[batch, seq, heads·headDim] → f32[batch, heads, seq, headDim] */
function byHead(x: Tensor, heads: number): Tensor {
  return transpose(reshape(x, [x.dim(0), x.dim(1), heads, (x.dim(2) as number) / heads]), [0, 2, 1, 3]);
}

function merged(x: Tensor): Tensor {
  const [batch, heads, seq, headDim] = x.shape as readonly [Dim, number, Dim, number];
  return reshape(transpose(x, [0, 2, 1, 3]), [batch, seq, heads * headDim]);
}

/** For widths of heads that ONNX Runtime's kernel does not take. */
function composed(b: OnnxLowering, inputs: readonly string[], node: OpNode<CausalAttentionAttrs>): readonly string[] {
  const { heads, kvHeads, scale } = node.attrs;
  const [batch, seq, width] = node.inputs[0]!.shape as readonly [Dim, Dim, number];
  const headDim = width / heads;
  const reshaped = (x: string, shape: readonly Dim[]): string => b.node("Reshape", [x, b.dims(shape)], { allowzero: 1 });
  const split = (x: string, n: number): string => b.node("Transpose", [reshaped(x, [batch, seq, n, headDim])], { perm: [0, 2, 1, 3] });
  const [q, k, v, bias] = inputs;
  const [keys, values] = [split(k!, kvHeads), split(v!, kvHeads)];
  const flat = (x: string, last: Dim): string => reshaped(x, [batch, kvHeads, dimMul(seq, heads / kvHeads), last]);
  const product = b.node("FusedMatMul", [flat(split(q!, heads), headDim), keys], { transB: 1, alpha: { float: scale } }, "com.microsoft");
  const hidden = b.node("Trilu", [b.node("Expand", [b.scalar(HIDDEN, "f32"), b.dims([seq, seq])]), b.scalar(1, "i64")], { upper: 1 });
  const scores = b.node("Add", [reshaped(product, [batch, heads, seq, seq]), hidden]);
  const weights = b.node("Softmax", [bias ? b.node("Add", [scores, bias]) : scores], { axis: -1 });
  const mixed = reshaped(b.node("MatMul", [flat(weights, seq), values]), [batch, heads, seq, headDim]);
  return [reshaped(b.node("Transpose", [mixed], { perm: [0, 2, 1, 3] }), [batch, seq, width]), weights, keys, values];
}

function referenceLoop(
  [q, k, v, bias]: readonly RefArray[],
  { heads, kvHeads, scale }: CausalAttentionAttrs,
  [batch, seq, width]: readonly [number, number, number],
): Float64Array[] {
  const headDim = width / heads;
  const weights = new Float64Array(batch * heads * seq * seq);
  const mixed = new Float64Array(batch * seq * width);
  const byKvHead = (x: RefArray): Float64Array => {
    const out = new Float64Array(x.data.length);
    for (let n = 0; n < batch; n++)
      for (let t = 0; t < seq; t++)
        for (let h = 0; h < kvHeads; h++)
          for (let d = 0; d < headDim; d++)
            out[((n * kvHeads + h) * seq + t) * headDim + d] = x.data[((n * seq + t) * kvHeads + h) * headDim + d]!;
    return out;
  };
  const [keys, values] = [byKvHead(k!), byKvHead(v!)];
  for (let n = 0; n < batch; n++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < seq; t++) {
        const own = (n * seq + t) * width + h * headDim;
        const shared = (n * kvHeads + Math.floor((h * kvHeads) / heads)) * seq * headDim;
        const row = weights.subarray(((n * heads + h) * seq + t) * seq);
        for (let j = 0; j <= t; j++) {
          let score = 0;
          for (let d = 0; d < headDim; d++) score += q!.data[own + d]! * keys[shared + j * headDim + d]!;
          row[j] = score * scale + (bias ? bias.data[((bias.shape[0] === 1 ? 0 : n) * seq + t) * seq + j]! : 0);
        }
        const top = row.subarray(0, t + 1).reduce((a, b) => Math.max(a, b), -Infinity);
        let total = 0;
        for (let j = 0; j <= t; j++) total += row[j] = Math.exp(row[j]! - top);
        for (let j = 0; j <= t; j++) {
          row[j] = row[j]! / total;
          for (let d = 0; d < headDim; d++) mixed[own + d] = mixed[own + d]! + row[j]! * values[shared + j * headDim + d]!;
        }
      }
  return [mixed, weights, keys, values];
}

/**
 * softmax(q·kᵀ·scale + bias)·v, each query over the keys up to its own position.
 * @param q f32[batch, seq, heads·headDim]
 * @param k f32[batch, seq, kvHeads·headDim]; heads is a multiple of kvHeads
 * @param v as k
 * @param options scale — of the scores, default 1/√headDim; bias — added to them, f32[batch or 1, 1, seq, seq]
 * @returns mixed f32[batch, seq, heads·headDim]; weights f32[batch, heads, seq, seq]; keys, values f32[batch, kvHeads, seq, headDim]
 */
export function causalAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: { readonly heads: number; readonly kvHeads?: number; readonly scale?: number; readonly bias?: Tensor | undefined },
): { readonly mixed: Tensor; readonly weights: Tensor; readonly keys: Tensor; readonly values: Tensor } {
  const { heads, kvHeads = heads, bias } = options;
  const scale = options.scale ?? ((q.dim(2) as number) / heads) ** -0.5;
  const [mixed, weights, keys, values] = apply(causalAttentionOp, bias ? [q, k, v, bias] : [q, k, v], { heads, kvHeads, scale });
  return { mixed: mixed!, weights: weights!, keys: keys!, values: values! };
}
