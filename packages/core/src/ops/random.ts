/** Counter-based random numbers inside a graph: the same key gives the same bits on every engine. */
import type { Dim } from "../dims.js";
import { sizeOf } from "../dtype.js";
import { onnxDtype } from "../onnx/lowering.js";
import { mix32 } from "../rng.js";
import { apply1, type OpDef, type Tensor } from "../tensor.js";
import { cast, cos, greaterEqual, log, maximum, mul, sqrt } from "./elementwise.js";
import { requireDtype, requireRank } from "./shape-rules.js";

interface RandomAttrs extends Record<string, unknown> {
  readonly shape: readonly Dim[];
  /** Tells draws of one step apart. */
  readonly stream: number;
}

/** Uniform in [0, 1) with 24 bits from an i32[] key: mix32(mix32(key + stream·φ) + i·φ). */
export const randomUniformOp: OpDef<RandomAttrs> = {
  name: "randomUniform",
  infer: ([key], { shape }) => {
    requireDtype(key!, ["i32"], "randomUniform");
    requireRank(key!, 0, "randomUniform");
    return [{ dtype: "f32", shape }];
  },
  notDifferentiable: "random numbers do not depend on anything that could be learned",
  reference: ([key], { stream }, [out]) => [draw(key!.data[0]!, stream, sizeOf(out!.shape))],
  onnx: (b, [key], node) => {
    const { shape, stream } = node.attrs;
    const n = b.node("ReduceProd", [b.dims(shape)], { keepdims: 0 });
    const word = (x: string): string => b.node("Cast", [x], { to: onnxDtype.u32 });
    const shift = (x: string, k: number): string => b.node("BitShift", [x, b.scalar(k, "u32")], { direction: "RIGHT" });
    const xor = (x: string, y: string): string => b.node("BitwiseXor", [x, y]);
    const mul = (x: string, k: number): string => b.node("Mul", [x, b.scalar(k, "u32")]);
    const mix = (x0: string): string => {
      let x = x0;
      x = xor(x, shift(x, 16));
      x = mul(x, 0x7feb352d);
      x = xor(x, shift(x, 15));
      x = mul(x, 0x846ca68b);
      return xor(x, shift(x, 16));
    };
    const k = mix(b.node("Add", [word(key!), b.scalar(offset(stream), "u32")]));
    const counter = mul(word(b.node("Range", [b.scalar(0, "i64"), n, b.scalar(1, "i64")])), 0x9e3779b9);
    const bits = shift(mix(b.node("Add", [counter, k])), 8);
    const uniform = b.node("Mul", [b.node("Cast", [bits], { to: onnxDtype.f32 }), b.scalar(2 ** -24, "f32")]);
    return [b.node("Reshape", [uniform, b.dims(shape)], { allowzero: 1 })];
  },
  tfjs: (tf, [key], { stream }, [out]) => [
    tf.tensor(Float32Array.from(draw(key!.dataSync()[0]!, stream, sizeOf(out!.shape))), [...out!.shape], "float32"),
  ],
};

function draw(key: number, stream: number, n: number): Float64Array {
  const k = mix32(key + offset(stream));
  return Float64Array.from({ length: n }, (_, i) => (mix32(k + Math.imul(i, 0x9e3779b9)) >>> 8) * 2 ** -24);
}

/** stream·φ as an unsigned word: another one for every stream below 2³². */
function offset(stream: number): number {
  return Math.imul(stream, 0x9e3779b9) >>> 0;
}

/** f32[shape] uniform in [0, 1). key — i32[]; stream — any non-negative integer below 2³². */
export function randomUniform(key: Tensor, shape: readonly Dim[], stream = 0): Tensor {
  return apply1(randomUniformOp, [key], { shape, stream });
}

/** f32[shape] of N(0, 1) by Box–Muller. stream — any non-negative integer below 2³¹. */
export function randomNormal(key: Tensor, shape: readonly Dim[], stream = 0): Tensor {
  const radius = sqrt(mul(log(maximum(randomUniform(key, shape, 2 * stream), 2 ** -24)), -2));
  return mul(radius, cos(mul(randomUniform(key, shape, 2 * stream + 1), 2 * Math.PI)));
}

/** Zeroes each element with probability `rate` and scales the others by 1/(1 − rate). */
export function dropout(x: Tensor, rate: number, key: Tensor, stream = 0): Tensor {
  if (rate === 0) return x;
  return mul(x, mul(cast(greaterEqual(randomUniform(key, x.shape, stream), rate), "f32"), 1 / (1 - rate)));
}
