/** Inverses of square matrices and the rotations that are made with them. */
import { f32 } from "../dtype.js";
import { LfmError } from "../errors.js";
import { apply1, constant, type OpDef, type RefArray, type Tensor } from "../tensor.js";
import { add, mul, neg, sub } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { transpose } from "./movement.js";
import { requireDim, requireDtype } from "./shape-rules.js";

type NoAttrs = Record<string, never>;

export const inverseOp: OpDef<NoAttrs> = {
  name: "inverse",
  infer: ([x]) => {
    requireDtype(x!, ["f32"], "inverse");
    if (x!.rank < 2 || typeof x!.dim(-1) !== "number")
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] inverse takes f32[..., n, n] with a concrete n, got ${x}`);
    requireDim(x!.dim(-2), x!.dim(-1), "inverse, a square matrix");
    return [{ dtype: "f32", shape: x!.shape }];
  },
  vjp: (node, [g]) => {
    const y = node.outputs[0]!;
    return [g && neg(matmul(matmul(y, g, { transA: true }), y, { transB: true }))];
  },
  reference: ([x]) => [invert(x!)],
  onnx: (b, inputs) => [b.node("Inverse", inputs, {}, "com.microsoft")],
  tfjs: (tf, [x]) => {
    const data = Float64Array.from(x!.dataSync());
    return [tf.tensor(Float32Array.from(invert({ shape: x!.shape, data })), x!.shape, "float32")];
  },
};

/** Gauss–Jordan with partial pivoting. */
function invert({ shape, data }: RefArray): Float64Array {
  const n = shape.at(-1)!;
  const result = new Float64Array(data.length);
  for (let base = 0; base < data.length; base += n * n) {
    const rows = Array.from({ length: n }, (_, i) => {
      const row = new Float64Array(2 * n);
      row.set(data.subarray(base + i * n, base + (i + 1) * n));
      row[n + i] = 1;
      return row;
    });
    for (let k = 0; k < n; k++) {
      let best = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(rows[i]![k]!) > Math.abs(rows[best]![k]!)) best = i;
      [rows[k], rows[best]] = [rows[best]!, rows[k]!];
      const pivot = rows[k]!;
      const by = pivot[k]!;
      for (let j = 0; j < 2 * n; j++) pivot[j] = pivot[j]! / by;
      for (const [i, row] of rows.entries()) {
        const factor = row[k]!;
        if (i !== k && factor !== 0) for (let j = k; j < 2 * n; j++) row[j] = row[j]! - factor * pivot[j]!;
      }
    }
    for (const [i, row] of rows.entries()) result.set(row.subarray(n), base + i * n);
  }
  return result;
}

/**
 * The inverse of every matrix of f32[..., n, n]. A singular matrix gives values that are not finite or without meaning: nothing is checked in
 * the run.
 * @throws {LfmError} SHAPE_MISMATCH when the matrices are not square or n is a symbol
 */
export function inverse(x: Tensor): Tensor {
  return apply1(inverseOp, [x], {});
}

/**
 * The rotation (I − S)·(I + S)⁻¹ with S = (a − aᵀ)/2, the Cayley transform: orthogonal for every `a`, the identity for 0 (OFT, arXiv 2306.07280).
 * @param a f32[..., n, n]
 */
export function cayley(a: Tensor): Tensor {
  const n = a.dim(-1);
  if (typeof n !== "number") throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] cayley takes f32[..., n, n] with a concrete n, got ${a}`);
  const last = a.rank - 1;
  const perm = a.shape.map((_, i) => (i < last - 1 ? i : 2 * last - 1 - i));
  const skew = mul(sub(a, transpose(a, perm)), 0.5);
  const identity = constant(
    f32(
      Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
      [n, n],
    ),
  );
  return matmul(sub(identity, skew), inverse(add(identity, skew)));
}
