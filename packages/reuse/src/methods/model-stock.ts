/**
 * Model Stock (arXiv 2403.19522, eq. 2): θ₀ + t·mean(τᵢ), t = N·c / (1 + (N−1)·c), c the mean cosine of two task vectors: the point of the
 * plane of the fine-tunes that lies nearest to the centre they scatter around. `filter_wise` takes c for each run along the last axis.
 * As mergekit: the product of two norms counts as at least 1e-6; where 1 + (N−1)c is next to zero the base stays. The paper's c for more
 * than two models is the mean over pairs, too.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";
import { clampCosine, type Gram, gramOf, writeCombination } from "../merging/span.js";
import { toTaskVectors } from "../merging/task-vectors.js";

const SMALL = 1e-6;

export const modelStock = defineMerge({
  id: "model-stock",
  summary: "Averages fine-tunes and pulls the average to the base by how far their task vectors disagree.",
  paper: {
    title: "Model Stock: All we need is just a few fine-tuned models",
    arxiv: "2403.19522",
    year: 2024,
    survey: "5.1 weight interpolation",
  },
  base: "required",
  models: [2, Number.POSITIVE_INFINITY],
  shared: { filter_wise: z.boolean().default(false).describe("an own ratio t for each row of the last axis") },
  perModel: {},
  merge: (tensor) => {
    const n = tensor.models.length;
    const even = (t: number): number[] => new Array<number>(n).fill(t / n);
    if (!tensor.parameters.filter_wise || tensor.shape.length < 2) return writeCombination(tensor, even(ratio(gramOf(tensor))));
    const width = tensor.shape.at(-1)!;
    const { fn } = kernels();
    tensor.write((chunk, out) => {
      toTaskVectors(chunk);
      for (let at = 0; at < chunk.length; at += width) {
        const row = chunk.models.map((m) => m.subarray(at, at + width));
        const gram = row.map((a) => Float64Array.from(row, (b) => fn.dot(a.byteOffset, b.byteOffset, width)));
        const own = out.subarray(at, at + width);
        own.set(chunk.base.subarray(at, at + width));
        for (const values of row) fn.addScaled(own.byteOffset, values.byteOffset, ratio(gram) / n, width);
      }
    }, width);
  },
});

/** t, from inner products of task vectors. */
function ratio(gram: Gram): number {
  const n = gram.length;
  let sum = 0;
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) sum += clampCosine(gram[i]![j]! / Math.max(SMALL, Math.sqrt(gram[i]![i]! * gram[j]![j]!)));
  const cos = sum / ((n * (n - 1)) / 2);
  const denominator = 1 + (n - 1) * cos;
  return Math.abs(denominator) < SMALL ? 0 : (n * cos) / denominator;
}
