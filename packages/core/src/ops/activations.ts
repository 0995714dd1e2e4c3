/** Activations. Derivatives stand beside each. */
import { add, erf, exp, greater, mul, sigmoid, square, sub, where } from "./elementwise.js";
import { erfReference } from "./reference-loops.js";
import { erfTolerance, one, unary } from "./unary.js";

const GELU_C = Math.sqrt(2 / Math.PI);
const GELU_A = 0.044715;

export const reluOp = unary({
  name: "relu",
  f: (x) => Math.max(x, 0),
  vjp: (g, x) => where(greater(x, 0), g, 0),
  onnx: "Relu",
  tfjs: (tf, x) => tf.relu(x),
});
export const softplusOp = unary({
  name: "softplus",
  f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  vjp: (g, x) => mul(g, sigmoid(x)),
  onnx: "Softplus",
  tfjs: (tf, x) => tf.softplus(x),
});
/** x·Φ(x), the exact form (BERT, ViT). */
export const geluOp = unary({
  name: "gelu",
  f: (x) => 0.5 * x * (1 + erfReference(x / Math.SQRT2)),
  vjp: (g, x) =>
    mul(g, add(mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5), mul(x, mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI))))),
  onnx: (b, x) => b.node("Gelu", [x], {}, "com.microsoft"),
  tfjs: (tf, x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  tolerance: erfTolerance,
});
/** The tanh form (GPT-2's gelu_new): 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
export const geluTanhOp = unary({
  name: "geluTanh",
  f: (x) => 0.5 * x * (1 + Math.tanh(GELU_C * (x + GELU_A * x ** 3))),
  vjp: (g, x, y) => {
    // In terms of the sigmoid that the tanh is: y = x·s, s = σ(v), v = 2·√(2/π)·(x + 0.044715·x³), so y' = s + y·v'·(1 − s).
    const cubic = mul(square(x), 2 * GELU_C * GELU_A);
    const s = sigmoid(mul(x, add(cubic, 2 * GELU_C)));
    return mul(g, add(s, mul(mul(y, add(mul(cubic, 3), 2 * GELU_C)), sub(1, s))));
  },
  onnx: (b, x) => b.node("FastGelu", [x], {}, "com.microsoft"),
  tfjs: (tf, x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(tf.mul(x, tf.add(tf.mul(tf.square(x), GELU_C * GELU_A), GELU_C))), 1)),
});
/** x·σ(x) (Llama's SiLU). */
export const siluOp = unary({
  name: "silu",
  f: (x) => x / (1 + Math.exp(-x)),
  vjp: (g, x, y) => {
    const s = sigmoid(x);
    return mul(g, add(s, mul(y, sub(1, s))));
  },
  onnx: (b, x) => b.node("QuickGelu", [x], { alpha: { float: 1 } }, "com.microsoft"),
  tfjs: (tf, x) => tf.mul(x, tf.sigmoid(x)),
});

export const relu = one(reluOp);
export const softplus = one(softplusOp);
export const gelu = one(geluOp);
export const geluTanh = one(geluTanhOp);
export const silu = one(siluOp);
