/**
 * Multi-SLERP (C. Goddard, https://goddard.blog/posts/multislerp-wow-what-a-cool-idea): barycentric interpolation on a sphere.
 * uᵢ = θᵢ/‖θᵢ‖ (τᵢ/‖τᵢ‖ with a base), μ = Σ wᵢuᵢ normalised; the weighted sum of the uᵢ in the tangent space at μ,
 * v = Σ wᵢ(uᵢ − ⟨uᵢ, μ⟩μ), goes back to the sphere, cos‖v‖·μ + sin‖v‖·v/‖v‖, times Σ wᵢ‖θᵢ‖.
 * As mergekit: `eps` is added to norms, two opposite vectors of one weight are interpolated linearly, one model is itself.
 * μ and v are combinations of the inputs, so one pass takes their inner products and one writes.
 */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { type Gram, gramOf, inner, length, writeCombination } from "../merging/span.js";

export const multislerp = defineMerge({
  id: "multislerp",
  summary: "Interpolates any number of models on the sphere, in the tangent space at their mean.",
  paper: {
    title: "Multi-SLERP",
    url: "https://goddard.blog/posts/multislerp-wow-what-a-cool-idea",
    year: 2025,
    survey: "5.1 weight interpolation",
  },
  base: "optional",
  models: [1, Number.POSITIVE_INFINITY],
  shared: {
    normalize_weights: z.boolean().default(true).describe("divide weights by their sum"),
    eps: z.number().min(0).default(1e-8).describe("added to norms, and the norm of the mean below which directions cancel"),
  },
  perModel: { weight: z.number().default(1).describe("weight w of the model") },
  merge: (tensor) => {
    const { normalize_weights, eps } = tensor.parameters;
    const given = tensor.models.map((m) => m.parameters.weight);
    if (given.length === 1) return tensor.write(({ models }, out) => out.set(models[0]!));
    const total = normalize_weights ? given.reduce((a, b) => a + b, 0) : 1;
    if (total === 0)
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] multislerp of "${tensor.name}": the weights sum to zero`, {
        hint: "give other weights, or normalize_weights: false",
      });
    writeCombination(
      tensor,
      sphericalMean(
        gramOf(tensor),
        given.map((w) => w / total),
        eps,
        tensor.name,
      ),
    );
  },
});

/**
 * Coefficients of the inputs in the result.
 * @throws {LfmError} CONFIG_INVALID where directions cancel
 */
function sphericalMean(gram: Gram, weights: readonly number[], eps: number, name: string): number[] {
  const norms = gram.map((row, i) => Math.sqrt(row[i]!));
  const mean = weights.map((w, i) => w / (norms[i]! + eps || 1));
  const meanNorm = length(gram, mean);
  if (meanNorm < eps || meanNorm === 0) {
    if (weights.length === 2) return [...weights];
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] multislerp of "${name}": the weighted directions of the models cancel`, {
      hint: "give other weights: vectors that point in opposite directions balance out here",
    });
  }
  const mu = mean.map((m) => m / meanNorm);
  // Σ wᵢuᵢ is meanNorm·μ, and its part along μ is taken off with the uᵢ as they are, of length ‖θᵢ‖/(‖θᵢ‖ + eps).
  const along = inner(gram, mean, mu);
  const tangent = mean.map((m, i) => m - along * mu[i]!);
  const angle = length(gram, tangent) + eps;
  const size = weights.reduce((sum, w, i) => sum + w * norms[i]!, 0);
  const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
  return mu.map((m, i) => size * (Math.cos(angle) * m + sinc * tangent[i]!));
}
