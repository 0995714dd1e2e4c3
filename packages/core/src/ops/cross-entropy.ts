/** −log p(label) as one operation: its backward pass is the softmax that the forward pass has made anyway. */
import { sizeOf } from "../dtype.js";
import { apply, type OpDef, type Tensor } from "../tensor.js";
import { add, full, greaterEqual, mul, sub, where } from "./elementwise.js";
import { addElements } from "./index-ops.js";
import { expandDims } from "./movement.js";
import { sum } from "./reduce.js";
import { requireDim, requireDtype } from "./shape-rules.js";
import type { UnaryAttrs } from "./unary.js";

/** Labels with this value never count. */
export const IGNORE_INDEX = -100;

/**
 * Logits f32[..., classes], labels i32[...] → losses f32[...], 0 where a label is negative (of labels that are fed: {@link IGNORE_INDEX} alone),
 * and probabilities f32[..., classes].
 */
export const crossEntropyOp: OpDef<UnaryAttrs> = {
  name: "crossEntropy",
  infer: ([logits, labels]) => {
    requireDtype(logits!, ["f32"], "crossEntropy");
    requireDtype(labels!, ["i32"], "crossEntropy");
    labels!.shape.forEach((d, i) => {
      requireDim(d, logits!.shape[i]!, `crossEntropy, axis ${i} of the labels`);
    });
    return [
      { dtype: "f32", shape: labels!.shape },
      { dtype: "f32", shape: logits!.shape },
    ];
  },
  vjp: (node, [gLosses, gProbabilities]) => {
    const labels = node.inputs[1]!;
    const probabilities = node.outputs[1]!;
    const parts: Tensor[] = [];
    if (gLosses) {
      const counted = greaterEqual(labels, 0);
      const own = expandDims(where(counted, labels, 0), -1);
      // The factor of each row comes last: products with the head's weights take it on their smaller side.
      const towards = addElements(probabilities, own, full(own.shape, -1), -1);
      parts.push(mul(towards, expandDims(where(counted, gLosses, 0), -1)));
    }
    if (gProbabilities) {
      const shared = sum(mul(gProbabilities, probabilities), -1, { keepDims: true });
      parts.push(mul(probabilities, sub(gProbabilities, shared)));
    }
    return [parts.length > 0 ? parts.reduce((a, b) => add(a, b)) : undefined, undefined];
  },
  index: ({ inputs: [logits] }) => ({ input: 1, size: logits!.dim(-1), ignored: IGNORE_INDEX }),
  reference: ([logits, labels]) => {
    const n = logits!.shape.at(-1)!;
    const probabilities = new Float64Array(logits!.data.length);
    const losses = labels!.data.map((label, r) => {
      const row = logits!.data.subarray(r * n, (r + 1) * n);
      const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
      const total = row.reduce((a, b) => a + Math.exp(b - top), 0);
      for (let i = 0; i < n; i++) probabilities[r * n + i] = Math.exp(row[i]! - top) / total;
      return label < 0 ? 0 : top + Math.log(total) - row[label]!;
    });
    return [losses, probabilities];
  },
  // log Σ eˣ = max x − log max p: passes that read, instead of one that writes the logarithms of all classes.
  onnx: (b, [logits, labels], node) => {
    const shape = b.dims(node.outputs[0]!.shape);
    const flat = (x: string): string => b.node("Reshape", [x, shape], { allowzero: 1 });
    const last = b.i64([-1]);
    const probabilities = b.node("Softmax", [logits!], { axis: -1 });
    const top = b.node("ReduceMax", [logits!, last], { keepdims: 0 });
    const likeliest = b.node("Log", [b.node("ReduceMax", [probabilities, last], { keepdims: 0 })]);
    const zero = b.scalar(0, "i32");
    const counted = b.node("GreaterOrEqual", [labels!, zero]);
    const column = b.node("Unsqueeze", [b.node("Where", [counted, labels!, zero]), last]);
    const own = flat(b.node("GatherElements", [logits!, column], { axis: -1 }));
    const losses = b.node("Sub", [b.node("Sub", [top, own]), likeliest]);
    return [b.node("Where", [counted, losses, b.scalar(0, "f32")]), probabilities];
  },
  tfjs: (tf, [logits, labels], _attrs, [out]) => {
    const n = logits!.shape.at(-1)!;
    const top = tf.max(logits, -1, true);
    const e = tf.exp(tf.sub(logits, top));
    const total = tf.sum(e, -1, true);
    const counted = tf.greaterEqual(labels, tf.scalar(0, "int32"));
    const safe = tf.where(counted, labels, tf.zerosLike(labels));
    const rows = tf.range(0, sizeOf(out!.shape), 1, "int32");
    const at = tf.add(tf.mul(rows, tf.scalar(n, "int32")), tf.reshape(safe, [-1]));
    const own = tf.reshape(tf.gather(tf.reshape(logits, [-1]), at), out!.shape);
    const all = tf.sub(tf.add(tf.reshape(tf.log(total), out!.shape), tf.reshape(top, out!.shape)), own);
    return [tf.where(counted, all, tf.zerosLike(all)), tf.div(e, total)];
  },
};

/**
 * −log p(label), per position.
 * @param logits f32[..., classes]; @param labels i32[...]; a negative one (IGNORE_INDEX) gives 0
 * @returns f32[...]
 */
export function crossEntropyPerItem(logits: Tensor, labels: Tensor): Tensor {
  return apply(crossEntropyOp, [logits, labels], {})[0]!;
}
