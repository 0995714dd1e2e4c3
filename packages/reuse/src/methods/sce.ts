/**
 * SCE: select, calculate, erase (FuseChat, arXiv 2408.07990, §3.3). Select the `select_topk` share of entries whose variance over the task
 * vectors is largest; weigh model i by wᵢ = mean(τᵢ²)/Σ; erase entries whose sign is not that of Στ; θ₀ + Σ wᵢτᵢ / Σ wᵢ of those that agree.
 * As mergekit: the share is of the entries with any variance; weights are equal where Σ mean(τ²) < 1e-6, which small changes of large
 * tensors reach; the divisor counts as at least 1e-6. With one model nothing varies: a share below 1 gives the base.
 * Two passes over the tensor, four where a share is selected.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { keepMarked, markLargest, orderStatistics } from "../merging/order-statistics.js";
import type { Threshold } from "../merging/radix-select.js";
import { toTaskVectors } from "../merging/task-vectors.js";

const SMALL = 1e-6;

export const sce = defineMerge({
  id: "sce",
  summary: "Selects entries by variance over task vectors, weighs models by magnitude and erases minority signs.",
  paper: { title: "FuseChat: Knowledge Fusion of Chat Models", arxiv: "2408.07990", year: 2024, survey: "5.1 weight interpolation" },
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared: { select_topk: z.number().min(0).max(1).default(1).describe("share of the varying entries that are merged") },
  perModel: {},
  merge: (tensor) => {
    const { select_topk } = tensor.parameters;
    const threshold = select_topk >= 1 ? undefined : selectVarying(tensor, select_topk);
    const weights = energies(tensor, threshold);
    const select = threshold && selector(threshold);
    let [sign, sum, divisor] = [new Float64Array(0), new Float64Array(0), new Float64Array(0)];
    tensor.write((chunk, out) => {
      toTaskVectors(chunk);
      select?.(chunk.models);
      const { models, base, length } = chunk;
      if (sign.length !== length) [sign, sum, divisor] = [new Float64Array(length), new Float64Array(length), new Float64Array(length)];
      for (const array of [sign, sum, divisor]) array.fill(0);
      for (const t of models) for (let j = 0; j < length; j++) sign[j] = sign[j]! + t[j]!;
      for (let j = 0; j < length; j++) sign[j] = sign[j]! >= 0 ? 1 : -1;
      for (let i = 0; i < models.length; i++) {
        const t = models[i]!;
        const w = weights[i]!;
        for (let j = 0; j < length; j++) {
          const v = t[j]!;
          const agrees = Number(v * sign[j]! > 0);
          sum[j] = sum[j]! + agrees * w * v;
          divisor[j] = divisor[j]! + agrees * w;
        }
      }
      for (let j = 0; j < length; j++) out[j] = base[j]! + sum[j]! / Math.max(SMALL, divisor[j]!);
    });
  },
});

/** Which entries are among the selected, by the bits of their variance. */
function selectVarying(tensor: MergeTensor<unknown, unknown>, share: number): Threshold {
  let varying = 0;
  let first = true;
  // mergekit's count is an integer tensor times the share: a product in f32.
  const places = (): number[][] => {
    first = false;
    return [[Math.floor(Math.fround(Math.fround(varying) * Math.fround(share)))]];
  };
  const [[threshold]] = orderStatistics(1, places, (count) =>
    tensor.read((chunk) => {
      toTaskVectors(chunk);
      const variance = variances(chunk.models);
      if (first) for (let j = 0; j < variance.length; j++) if (variance[j] !== 0) varying++;
      count(0, variance);
    }),
  ) as [[Threshold]];
  return threshold;
}

/** Zeroes what is not selected, on chunks in the order of the tensor. */
function selector(threshold: Threshold): (models: readonly Float32Array[]) => void {
  let left = threshold.equal;
  let kept = new Uint8Array(0);
  return (models) => {
    const variance = variances(models);
    if (kept.length < variance.length) kept = new Uint8Array(variance.length);
    left = markLargest(variance, threshold, left, kept);
    for (const t of models) keepMarked(t, kept);
  };
}

/** Population variance of each entry, f32 as mergekit's. */
function variances(models: readonly Float32Array[]): Float32Array {
  const [n, length] = [models.length, models[0]!.length];
  const [mean, squares] = [new Float64Array(length), new Float64Array(length)];
  for (const t of models) for (let j = 0; j < length; j++) mean[j] = mean[j]! + t[j]! / n;
  for (const t of models)
    for (let j = 0; j < length; j++) {
      const away = t[j]! - mean[j]!;
      squares[j] = squares[j]! + away * away;
    }
  const out = new Float32Array(length);
  for (let j = 0; j < length; j++) out[j] = squares[j]! / n;
  return out;
}

/** wᵢ = mean(τᵢ²)/Σ of the selected entries. */
function energies(tensor: MergeTensor<unknown, unknown>, threshold: Threshold | undefined): number[] {
  const { fn } = kernels();
  const select = threshold && selector(threshold);
  const squares = tensor.models.map(() => 0);
  tensor.read((chunk) => {
    toTaskVectors(chunk);
    select?.(chunk.models);
    for (const [i, t] of chunk.models.entries())
      squares[i] = squares[i]! + fn.dot(t.byteOffset, t.byteOffset, chunk.length) / tensor.elements;
  });
  const total = squares.reduce((a, b) => a + b, 0);
  return squares.map((s) => (total < SMALL ? 1 / squares.length : s / total));
}
