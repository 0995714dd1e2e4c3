/** Normalisations and softmax: forward passes that engines have as one kernel, backward passes written in operations. */
import { apply, apply1, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add, exp, mul, neg, square, sub } from "./elementwise.js";
import { broadcastTo, sumTo } from "./movement.js";
import { mean, sum } from "./reduce.js";
import { aroundAxis } from "./reference-loops.js";
import { normalizeAxis, requireDim, requireDtype } from "./shape-rules.js";

interface AxisAttrs extends Record<string, unknown> {
  readonly axis: number;
}
interface EpsilonAttrs extends Record<string, unknown> {
  readonly epsilon: number;
}

/** eˣ / Σ eˣ along an axis. */
export const softmaxOp: OpDef<AxisAttrs> = {
  name: "softmax",
  infer: ([x]) => {
    requireDtype(x!, ["f32"], "softmax");
    return [{ dtype: "f32", shape: x!.shape }];
  },
  vjp: (node, [g]) => {
    const y = node.outputs[0]!;
    if (!g) return [];
    const gy = mul(g, y);
    return [sub(gy, mul(y, sum(gy, node.attrs.axis, { keepDims: true })))];
  },
  reference: ([x], { axis }) => [softmaxLoop(x!, axis, false)],
  onnx: (b, [x], node) => [b.node("Softmax", [x!], { axis: node.attrs.axis })],
  tfjs: (tf, [x], { axis }) => {
    const e = tf.exp(tf.sub(x, tf.max(x, axis, true)));
    return [tf.div(e, tf.sum(e, axis, true))];
  },
};

/** x − log Σ eˣ along an axis. */
export const logSoftmaxOp: OpDef<AxisAttrs> = {
  name: "logSoftmax",
  infer: softmaxOp.infer,
  vjp: (node, [g]) => [g && sub(g, mul(exp(node.outputs[0]!), sum(g, node.attrs.axis, { keepDims: true })))],
  reference: ([x], { axis }) => [softmaxLoop(x!, axis, true)],
  onnx: (b, [x], node) => [b.node("LogSoftmax", [x!], { axis: node.attrs.axis })],
  tfjs: (tf, [x], { axis }) => {
    const centred = tf.sub(x, tf.max(x, axis, true));
    return [tf.sub(centred, tf.log(tf.sum(tf.exp(centred), axis, true)))];
  },
};

function softmaxLoop(x: RefArray, axis: number, log: boolean): Float64Array {
  const [outer, n, inner] = aroundAxis(x.shape, axis);
  const y = new Float64Array(x.data.length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (k: number): number => (o * n + k) * inner + i;
      let top = -Infinity;
      for (let k = 0; k < n; k++) top = Math.max(top, x.data[at(k)]!);
      let total = 0;
      for (let k = 0; k < n; k++) total += Math.exp(x.data[at(k)]! - top);
      for (let k = 0; k < n; k++) y[at(k)] = log ? x.data[at(k)]! - top - Math.log(total) : Math.exp(x.data[at(k)]! - top) / total;
    }
  return y;
}

/** Over the last axis; results: normalised, mean and 1/std, the last two with the axis kept as 1. */
export const layerNormOp: OpDef<EpsilonAttrs> = {
  name: "layerNorm",
  infer: ([x, scale, shift]) => {
    requireDtype(x!, ["f32"], "layerNorm");
    requireDim(scale!.dim(-1), x!.dim(-1), "layerNorm scale");
    requireDim(shift!.dim(-1), x!.dim(-1), "layerNorm shift");
    const stat = { dtype: "f32" as const, shape: [...x!.shape.slice(0, -1), 1] };
    return [{ dtype: "f32", shape: x!.shape }, stat, stat];
  },
  vjp: (node, [g, gMean, gRstd], wanted) => {
    const [x, scale, shift] = node.inputs as [Tensor, Tensor, Tensor];
    const [, mu, rstd] = node.outputs as [Tensor, Tensor, Tensor];
    const centred = sub(x, mu);
    const normal = mul(centred, rstd);
    const parts: Tensor[] = [];
    if (wanted[0]) {
      if (g) {
        // 1/std² multiplies the mean, not the elements: a pass less.
        const gs = mul(g, scale);
        const along = mul(mean(mul(gs, centred), -1, { keepDims: true }), square(rstd));
        parts.push(mul(sub(sub(gs, mean(gs, -1, { keepDims: true })), mul(centred, along)), rstd));
      }
      // The statistics are results too, so that derivatives of any order may pass through them.
      const perElement = (y: Tensor): Tensor => mul(y, 1 / (x.dim(-1) as number));
      if (gMean) parts.push(broadcastTo(perElement(gMean), x.shape));
      if (gRstd) parts.push(neg(mul(mul(perElement(gRstd), square(rstd)), normal)));
    }
    const dx = parts.length > 0 ? parts.reduce((a, b) => add(a, b)) : undefined;
    return [dx, g && wanted[1] ? sumTo(mul(g, normal), scale.shape) : undefined, g && wanted[2] ? sumTo(g, shift.shape) : undefined];
  },
  reference: ([x, scale, shift], { epsilon }) => {
    const n = x!.shape.at(-1)!;
    const rows = x!.data.length / n;
    const [y, mus, rstds] = [new Float64Array(x!.data.length), new Float64Array(rows), new Float64Array(rows)];
    for (let r = 0; r < rows; r++) {
      const row = x!.data.subarray(r * n, (r + 1) * n);
      const mu = row.reduce((a, v) => a + v, 0) / n;
      const rstd = 1 / Math.sqrt(row.reduce((a, v) => a + (v - mu) ** 2, 0) / n + epsilon);
      [mus[r], rstds[r]] = [mu, rstd];
      for (let i = 0; i < n; i++) y[r * n + i] = (row[i]! - mu) * rstd * scale!.data[i]! + shift!.data[i]!;
    }
    return [y, mus, rstds];
  },
  onnx: (b, inputs, node) => b.nodes("LayerNormalization", inputs, 3, { axis: -1, epsilon: { float: node.attrs.epsilon } }),
  tfjs: (tf, [x, scale, shift], { epsilon }) => {
    const mu = tf.mean(x, -1, true);
    const centred = tf.sub(x, mu);
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
    return [tf.add(tf.mul(tf.mul(centred, rstd), scale), shift), mu, rstd];
  },
};

/** x / √(mean x² + ε) · scale over the last axis; results: normalised and 1/rms with the axis kept as 1. */
export const rmsNormOp: OpDef<EpsilonAttrs> = {
  name: "rmsNorm",
  infer: ([x, scale]) => {
    requireDtype(x!, ["f32"], "rmsNorm");
    requireDim(scale!.dim(-1), x!.dim(-1), "rmsNorm scale");
    return [
      { dtype: "f32", shape: x!.shape },
      { dtype: "f32", shape: [...x!.shape.slice(0, -1), 1] },
    ];
  },
  vjp: (node, [g, gRstd], wanted) => {
    const [x, scale] = node.inputs as [Tensor, Tensor];
    const rstd = node.outputs[1]!;
    const normal = mul(x, rstd);
    const parts: Tensor[] = [];
    if (wanted[0]) {
      if (g) {
        // 1/rms² multiplies the mean, not the elements: a pass less.
        const gs = mul(g, scale);
        const along = mul(mean(mul(gs, x), -1, { keepDims: true }), square(rstd));
        parts.push(mul(sub(gs, mul(x, along)), rstd));
      }
      if (gRstd) parts.push(neg(mul(mul(mul(gRstd, 1 / (x.dim(-1) as number)), square(rstd)), normal)));
    }
    const dx = parts.length > 0 ? parts.reduce((a, b) => add(a, b)) : undefined;
    return [dx, g && wanted[1] ? sumTo(mul(g, normal), scale.shape) : undefined];
  },
  reference: ([x, scale], { epsilon }) => {
    const n = x!.shape.at(-1)!;
    const rstds = new Float64Array(x!.data.length / n);
    const y = new Float64Array(x!.data.length);
    for (let r = 0; r < rstds.length; r++) {
      const row = x!.data.subarray(r * n, (r + 1) * n);
      rstds[r] = 1 / Math.sqrt(row.reduce((a, v) => a + v * v, 0) / n + epsilon);
      for (let i = 0; i < n; i++) y[r * n + i] = row[i]! * rstds[r]! * scale!.data[i]!;
    }
    return [y, rstds];
  },
  onnx: (b, [x, scale], node) => {
    const { epsilon } = node.attrs;
    return b.nodes("SimplifiedLayerNormalization", [x!, scale!], 2, { axis: -1, epsilon: { float: epsilon }, stash_type: 1 });
  },
  tfjs: (tf, [x, scale], { epsilon }) => {
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
    return [tf.mul(tf.mul(x, rstd), scale), rstd];
  },
};

export function softmax(x: Tensor, axis = -1): Tensor {
  return apply1(softmaxOp, [x], { axis: normalizeAxis(axis, x.rank, "softmax") });
}

export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return apply1(logSoftmaxOp, [x], { axis: normalizeAxis(axis, x.rank, "logSoftmax") });
}

/** x — f32[..., d]; scale, shift — f32[d]. */
export function layerNorm(x: Tensor, scale: Tensor, shift: Tensor, epsilon = 1e-5): Tensor {
  return apply(layerNormOp, [x, scale, shift], { epsilon })[0]!;
}

/** x — f32[..., d]; scale — f32[d]. */
export function rmsNorm(x: Tensor, scale: Tensor, epsilon = 1e-6): Tensor {
  return apply(rmsNormOp, [x, scale], { epsilon })[0]!;
}
