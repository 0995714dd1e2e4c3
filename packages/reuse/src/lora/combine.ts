import { type HostTensor, LfmError, widenToF32 } from "@lfm/core";
import { firstRows, type Matrix, matrix, svd, times, transpose } from "@lfm/core/linalg";
import type { LoraLayer } from "@lfm/formats";

export interface WeightedLayer {
  readonly layer: LoraLayer;
  readonly weight: number;
}

/**
 * A [r, in] and B [out, r] of one module with B·A ≈ Σ wᵢsᵢBᵢAᵢ.
 * @throws {LfmError} SHAPE_MISMATCH where layers do not fit together
 */
export function combine(
  path: string,
  parts: readonly WeightedLayer[],
  combination: "linear" | "cat" | "svd",
  rank: number,
): { readonly a: HostTensor; readonly b: HostTensor } {
  const [first] = parts as readonly [WeightedLayer, ...WeightedLayer[]];
  const [width, height] = [first.layer.a.shape[1]!, first.layer.b.shape[0]!];
  for (const { layer } of parts) {
    if (layer.a.shape[1] !== width || layer.b.shape[0] !== height || layer.embedding !== first.layer.embedding)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/reuse] merge-lora: adapters of "${path}" have ΔW of [${height}, ${width}] and [${layer.b.shape[0]}, ${layer.a.shape[1]}]`,
      );
    if (combination === "linear" && layer.r !== first.layer.r)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/reuse] merge-lora: linear needs one rank, "${path}" has ${first.layer.r} and ${layer.r}`,
        {
          hint: "combination: cat or svd",
        },
      );
  }
  if (combination === "linear") {
    const [a, b] = [matrix(first.layer.r, width), matrix(height, first.layer.r)];
    for (const { layer, weight } of parts) {
      const factor = weight * layer.scale;
      addScaled(a, layer.a, Math.sign(factor) * Math.sqrt(Math.abs(factor)));
      addScaled(b, layer.b, Math.sqrt(Math.abs(factor)));
    }
    return { a: f32Tensor(a), b: f32Tensor(b) };
  }
  const { a, b } = stacked(parts, width, height);
  if (combination === "cat") return { a: f32Tensor(a), b: f32Tensor(transpose(b)) };
  // B·A = Σ σ uvᵀ·A: the singular values of B first, then those of what is left, a matrix of as many rows as the ranks add up to.
  const outer = svd(transpose(b));
  const middle = times(scaleRows(outer.right, outer.values), a);
  const inner = svd(middle);
  const r = Math.min(rank, inner.values.length);
  const left = times(firstRows(inner.left, r), outer.left);
  return { a: f32Tensor(firstRows(inner.right, r)), b: f32Tensor(transpose(scaleRows(left, inner.values))) };
}

/** A [Σr, in] with weights and scales, Bᵀ [Σr, out]. */
function stacked(parts: readonly WeightedLayer[], width: number, height: number): { readonly a: Matrix; readonly b: Matrix } {
  const rows = parts.reduce((n, { layer }) => n + layer.r, 0);
  const [a, b] = [matrix(rows, width), matrix(rows, height)];
  let at = 0;
  for (const { layer, weight } of parts) {
    const r = layer.r;
    addScaled(matrix(r, width, a.data.subarray(at * width, (at + r) * width)), layer.a, weight * layer.scale);
    b.data.set(transpose(matrix(height, r, values(layer.b))).data, at * height);
    at += r;
  }
  return { a, b };
}

const values = (t: HostTensor): Float32Array => widenToF32(t).data as Float32Array;

function addScaled(into: Matrix, t: HostTensor, factor: number): void {
  for (const [i, v] of values(t).entries()) into.data[i] = into.data[i]! + factor * v;
}

function scaleRows(a: Matrix, factors: Float64Array): Matrix {
  return { ...a, data: a.data.map((v, i) => v * factors[Math.floor(i / a.columns)]!) };
}

function f32Tensor({ rows, columns, data }: Matrix): HostTensor {
  return { dtype: "f32", shape: [rows, columns], data: Float32Array.from(data) };
}
