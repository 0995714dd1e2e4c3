/** Eight-bit products for frozen weights. */
import { sizeOf } from "../dtype.js";
import { apply1, type OpDef, type Tensor } from "../tensor.js";
import { roundHalfEven } from "./reference-loops.js";
import { requireDim, requireDtype, requireRank } from "./shape-rules.js";

type NoAttrs = Record<string, never>;

/**
 * x·W with W in 8 bits: x f32[..., k], W i8[k, n], scale f32[n] → f32[..., n].
 * x is quantised on the fly to u8 with one scale and zero point per call, products are exact integers.
 */
export const quantizedMatmulOp: OpDef<NoAttrs> = {
  name: "quantizedMatmul",
  infer: ([x, w, scale]) => {
    requireDtype(x!, ["f32"], "quantizedMatmul");
    requireDtype(w!, ["i8"], "quantizedMatmul");
    requireRank(w!, 2, "quantizedMatmul");
    requireDim(x!.dim(-1), w!.dim(0), "quantizedMatmul, inner dimension");
    requireDim(scale!.dim(0), w!.dim(1), "quantizedMatmul, scales");
    return [{ dtype: "f32", shape: [...x!.shape.slice(0, -1), w!.dim(1)] }];
  },
  notDifferentiable: "rounding to 8 bits has no useful derivative; keep a second, transposed copy for a backward pass",
  reference: ([x, w, scale], _attrs, [out]) => {
    const [k, n] = w!.shape as [number, number];
    const { step, zero } = range(x!.data);
    const y = new Float64Array(sizeOf(out!.shape));
    for (let r = 0; r < y.length / n; r++)
      for (let p = 0; p < k; p++) {
        const q = Math.min(255, Math.max(0, roundHalfEven(Math.fround(x!.data[r * k + p]! / step)) + zero)) - zero;
        for (let j = 0; j < n; j++) y[r * n + j] = y[r * n + j]! + q * w!.data[p * n + j]! * step * scale!.data[j]!;
      }
    return [y];
  },
  onnx: (b, inputs) => [b.node("DynamicQuantizeMatMul", inputs, {}, "com.microsoft")],
  tfjs: (tf, [x, w, scale], _attrs, [out]) => {
    const { step, zero } = range(x!.dataSync());
    const q = tf.sub(tf.clipByValue(tf.add(tf.round(tf.div(x, step)), zero), 0, 255), zero);
    const k = w!.shape[0]!;
    return [tf.reshape(tf.mul(tf.matMul(tf.reshape(q, [-1, k]), tf.cast(w, "float32")), tf.mul(scale, step)), out!.shape)];
  },
  tolerance: {
    ort: { relative: 1e-2, reason: "an element on a rounding edge may fall to the other side in f32" },
    tfjs: { relative: 1e-2, reason: "an element on a rounding edge may fall to the other side in f32" },
  },
};

function range(x: ArrayLike<number>): { step: number; zero: number } {
  let [low, high] = [0, 0];
  for (let i = 0; i < x.length; i++) [low, high] = [Math.min(low, x[i]!), Math.max(high, x[i]!)];
  const step = Math.fround((high - low) / 255) || 1;
  return { step, zero: Math.min(255, Math.max(0, roundHalfEven(Math.fround(-low / step)))) };
}

/** @see quantizedMatmulOp */
export function quantizedMatmul(x: Tensor, w: Tensor, scale: Tensor): Tensor {
  return apply1(quantizedMatmulOp, [x, w, scale], {});
}
