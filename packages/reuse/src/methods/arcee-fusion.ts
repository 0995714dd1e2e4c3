/**
 * Arcee Fusion (mergekit; https://arcee.ai): takes from the other model the entries that matter most, leaves the base elsewhere.
 * Importance of an entry = |θ₁ − θ₀|·KL(softmax(θ₁ row) ‖ softmax(θ₀ row)), rows along the last axis, 1e-8 added to each probability;
 * entries of importance ≥ median + 1.5·(upper − lower quartile) are taken.
 * mergekit takes the quartiles of tensors above a million entries from a random sample, without a seed of its own, and sums the divergence in
 * f32, where it is mostly rounding for wide rows. Here quartiles are exact and divergences f64: equal up to entries at the limit.
 */
import { defineMerge } from "../merging/define-merge.js";
import type { MergeTensor } from "../merging/merge-method.js";
import { magnitudeAt, orderStatistics } from "../merging/order-statistics.js";
import type { Threshold } from "../merging/radix-select.js";

const EPSILON = 1e-8;

export const arceeFusion = defineMerge({
  id: "arcee-fusion",
  summary: "Takes the most important changes of another model over into the base.",
  paper: { title: "mergekit: Tools for merging pretrained large language models", arxiv: "2403.13257", year: 2024 },
  base: "required",
  models: [1, 1],
  shared: {},
  perModel: {},
  merge: (tensor) => {
    const width = tensor.shape.at(-1) ?? 1;
    const divergence = divergences(tensor, width);
    const importance = (other: Float32Array, base: Float32Array, start: number): Float32Array => {
      const scores = new Float32Array(other.length);
      for (let at = 0; at < other.length; at += width) {
        const kl = divergence[(start + at) / width]!;
        for (let j = at; j < at + width; j++) scores[j] = Math.abs(Math.fround(other[j]! - base[j]!)) * kl;
      }
      return scores;
    };
    const n = tensor.elements;
    // Places count from the largest; mergekit's from the smallest, ⌊q(n−1)⌋.
    const places = [0.25, 0.5, 0.75].map((q) => n - Math.floor(q * (n - 1)));
    const [quartiles] = orderStatistics(
      1,
      () => [places],
      (count) => tensor.read(({ models, base, start }) => count(0, importance(models[0]!, base, start)), width),
    ) as [[Threshold, Threshold, Threshold]];
    const [lower, median, upper] = quartiles.map(magnitudeAt) as [number, number, number];
    const limit = Math.fround(median + Math.fround(1.5 * Math.fround(upper - lower)));
    tensor.write(({ models, base, start, length }, out) => {
      const scores = importance(models[0]!, base, start);
      const other = models[0]!;
      for (let j = 0; j < length; j++) out[j] = scores[j]! >= limit ? other[j]! : base[j]!;
    }, width);
  },
});

/** KL of each row, f64 [rows]. */
function divergences(tensor: MergeTensor<unknown, unknown>, width: number): Float64Array {
  const found = new Float64Array(tensor.elements / width);
  const [p, q] = [new Float64Array(width), new Float64Array(width)];
  tensor.read(({ models, base, start, length }) => {
    for (let at = 0; at < length; at += width) {
      softmax(models[0]!, at, p);
      softmax(base, at, q);
      let sum = 0;
      for (let j = 0; j < width; j++) {
        const own = p[j]! + EPSILON;
        sum += own * Math.log(own / (q[j]! + EPSILON));
      }
      found[(start + at) / width] = Math.max(0, sum);
    }
  }, width);
  return found;
}

function softmax(values: Float32Array, at: number, into: Float64Array): void {
  let most = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < into.length; j++) most = Math.max(most, values[at + j]!);
  let total = 0;
  for (let j = 0; j < into.length; j++) {
    into[j] = Math.exp(values[at + j]! - most);
    total += into[j]!;
  }
  for (let j = 0; j < into.length; j++) into[j] = into[j]! / total;
}
