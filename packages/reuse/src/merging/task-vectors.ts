import type { MergeChunk } from "./define-merge.js";
import { kernels } from "./kernels.js";

/** θᵢ → θᵢ − θ₀, in place. */
export function toTaskVectors({ models, base, length }: MergeChunk): void {
  const { fn } = kernels();
  for (const values of models) fn.subtract(values.byteOffset, base.byteOffset, length);
}

/** out = θ₀ + Σ wᵢ τᵢ; the chunk holds task vectors. */
export function addTaskVectors({ models, base, length }: MergeChunk, weights: readonly number[], out: Float32Array): void {
  const { fn } = kernels();
  fn.scale(out.byteOffset, models[0]!.byteOffset, weights[0]!, length);
  for (let i = 1; i < models.length; i++) fn.addScaled(out.byteOffset, models[i]!.byteOffset, weights[i]!, length);
  fn.addScaled(out.byteOffset, base.byteOffset, 1, length);
}

export interface Election {
  readonly weights: readonly number[];
  readonly lambda: number;
  /** Divide by the weights that agree; off: sum. */
  readonly normalize: boolean;
  /** The sign of Σ wᵢτᵢ, or that of most models. */
  readonly consensus: "sum" | "count";
}

/** Addresses and weights as the kernel wants them; taken before chunks are read, given back with the caller's mark. */
export function prepareElection({ weights, lambda, normalize, consensus }: Election): (chunk: MergeChunk, out: Float32Array) => void {
  const k = kernels();
  const [xs, ws] = [k.takeBytes(4 * weights.length), k.takeBytes(4 * weights.length)];
  k.f32(ws, weights.length).set(weights);
  return (chunk, out) => {
    k.u32(xs, weights.length).set(chunk.models.map((values) => values.byteOffset));
    const { byteOffset } = chunk.base;
    k.fn.elect(xs, ws, weights.length, byteOffset, out.byteOffset, chunk.length, lambda, normalize ? 1 : 0, consensus === "count" ? 1 : 0);
  };
}
