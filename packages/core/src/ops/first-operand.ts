import type { OpDef } from "../tensor.js";

/**
 * An op that is its first operand, f32: a weight. The others are what it is stored as; `product` and `rows` of the op use them instead, and where
 * they do, nobody asks for the weight itself.
 */
export const firstOperand = {
  view: true,
  infer: ([value]) => [{ dtype: "f32", shape: value!.shape }],
  vjp: (_node, [g]) => [g],
  reference: ([value]) => [value!.data],
  onnx: (_b, [value]) => [value!],
  tfjs: (tf, [value]) => [tf.clone(value)],
} as const satisfies Omit<OpDef, "name">;
