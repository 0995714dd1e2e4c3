/**
 * Karcher (Riemannian) mean of the directions of the models (arXiv 2603.04972): the point m of the unit sphere from which the pull of all
 * directions is zero, found by m ← exp_m(Σ αᵢ log_m(uᵢ)), uᵢ = θᵢ/‖θᵢ‖, αᵢ = 1/N, from their normalised mean; times Σ αᵢ‖θᵢ‖.
 * As mergekit: at most `max_iter` steps, until a step is shorter than `tol`; models of norm ≤ `tol` have no direction, but count in the length.
 * m stays a combination of the inputs: the steps are on their inner products, one pass takes these and one writes. With them in f64,
 * tensors that nearly agree (fine-tunes of one model) keep their angles, which mergekit's f32 products lose.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { clampCosine, type Gram, gramOf, inner, length, normalized, writeCombination } from "../merging/span.js";

export const karcher = defineMerge({
  id: "karcher",
  summary: "Takes the Riemannian mean of the models' directions and the mean of their lengths.",
  paper: {
    title: "Functionality-Oriented LLM Merging on the Fisher-Rao Manifold",
    arxiv: "2603.04972",
    year: 2026,
    survey: "5.1 weight interpolation",
  },
  base: "none",
  models: [1, Number.POSITIVE_INFINITY],
  shared: {
    max_iter: z.number().int().min(0).default(10).describe("most steps"),
    tol: z.number().min(0).default(1e-5).describe("length of a step (an angle in radians) that ends the search"),
  },
  perModel: {},
  merge: (tensor) => {
    const { max_iter, tol } = tensor.parameters;
    const n = tensor.models.length;
    if (n === 1) return writeCombination(tensor, [1]);
    const gram = gramOf(tensor);
    const norms = gram.map((row, i) => Math.sqrt(row[i]!));
    const mean = karcherMean(normalized(gram, norms), norms, max_iter, tol);
    const size = norms.reduce((sum, norm) => sum + norm / n, 0);
    writeCombination(
      tensor,
      mean.map((m, i) => (m === 0 ? 0 : (size * m) / norms[i]!)),
    );
  },
});

/** The mean as a combination of unit vectors with these inner products; zeros where no vector has a direction. */
function karcherMean(gram: Gram, norms: readonly number[], maxSteps: number, tolerance: number): number[] {
  const valid = norms.map((norm) => norm > tolerance);
  const count = valid.filter((v) => v).length;
  if (count === 0) return norms.map(() => 0);
  let mean = valid.map((v) => (v ? 1 / count : 0));
  const start = length(gram, mean);
  mean = start < tolerance ? valid.map((_, i) => (i === valid.indexOf(true) ? 1 : 0)) : mean.map((m) => m / start);
  const unit = (i: number): number[] => norms.map((_, j) => (i === j ? 1 : 0));
  for (let step = 0; step < maxSteps; step++) {
    const tangent = norms.map(() => 0);
    for (let i = 0; i < norms.length; i++) {
      if (!valid[i]) continue;
      const cos = clampCosine(inner(gram, mean, unit(i)));
      const angle = Math.acos(cos);
      // An opposite direction has no shortest way to it: mergekit divides by sin π.
      if (angle < tolerance || Math.sin(angle) === 0) continue;
      const pull = angle / Math.sin(angle) / count;
      for (let j = 0; j < norms.length; j++) tangent[j] = tangent[j]! + pull * ((i === j ? 1 : 0) - cos * mean[j]!);
    }
    const size = length(gram, tangent);
    if (size < tolerance) break;
    const moved = mean.map((m, j) => Math.cos(size) * m + (Math.sin(size) / size) * tangent[j]!);
    const norm = length(gram, moved);
    mean = norm > tolerance ? moved.map((m) => m / norm) : moved;
  }
  return mean;
}
