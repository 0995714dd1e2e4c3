import { kernels } from "./kernels.js";
import type { MergeChunk } from "./merge-method.js";

/** θᵢ → θᵢ − θ₀, in place. */
export function toTaskVectors({ models, base, length }: MergeChunk): void {
  const { fn } = kernels();
  for (const values of models) fn.subtract(values.byteOffset, base.byteOffset, length);
}

/** Adds runs up: `base` comes last, and with `relative` each run counts from there. */
export type Sum = (runs: readonly Float32Array[], out: Float32Array, base?: Float32Array, relative?: boolean) => void;

/** Σ wᵢ·runᵢ (+ base). Addresses and weights are taken before chunks are read, given back with the caller's mark. */
export function prepareSum(weights: readonly number[]): Sum {
  const k = kernels();
  const [xs, ws] = [k.takeBytes(4 * weights.length), k.takeBytes(4 * weights.length)];
  k.f32(ws, weights.length).set(weights);
  return (runs, out, base, relative = false) => {
    k.u32(xs, runs.length).set(runs.map((run) => run.byteOffset));
    k.fn.combine(xs, ws, runs.length, base?.byteOffset ?? 0, out.byteOffset, out.length, relative ? 1 : 0);
  };
}

export interface Election {
  readonly weights: readonly number[];
  /** What rescales each task vector. */
  readonly factors: readonly number[];
  readonly lambda: number;
  /** Divide by the weights that agree; off: sum. */
  readonly normalize: boolean;
  /** The sign of Σ wᵢτᵢ, or that of most models. */
  readonly consensus: "sum" | "count";
}

/** θ₀ + the elected part of task vectors. Addresses and weights are taken before chunks are read, given back with the caller's mark. */
export function prepareElection({
  weights,
  factors,
  lambda,
  normalize,
  consensus,
}: Election): (chunk: MergeChunk, out: Float32Array) => void {
  const k = kernels();
  const n = weights.length;
  const [xs, ws, ss] = [k.takeBytes(4 * n), k.takeBytes(4 * n), k.takeBytes(4 * n)];
  k.f32(ws, n).set(weights);
  k.f32(ss, n).set(weights.map((w, i) => w * factors[i]!));
  return (chunk, out) => {
    k.u32(xs, n).set(chunk.models.map((values) => values.byteOffset));
    const { byteOffset } = chunk.base;
    k.fn.elect(xs, ws, ss, n, byteOffset, out.byteOffset, chunk.length, lambda, normalize ? 1 : 0, consensus === "count" ? 1 : 0);
  };
}
