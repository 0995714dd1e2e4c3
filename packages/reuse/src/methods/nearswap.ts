/**
 * NearSwap (alchemonaut, https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001): where the other model lies near the base take it,
 * elsewhere move towards it by about t. α = min(1, t/|θ₁ − θ₀|), θ₀ + α(θ₁ − θ₀); differences count as at least 1e-6.
 * t = 0 gives the base, a large t the other model. mergekit has no default for t; here it is that of the model that the method comes from.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";

export const nearswap = defineMerge({
  id: "nearswap",
  summary: "Swaps entries of the base for those of another model where the two are near.",
  paper: { title: "NearSwap", url: "https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001", year: 2024 },
  base: "required",
  models: [1, 1],
  shared: { t: z.number().default(1e-4).describe("difference of two entries up to which the other model's is taken") },
  perModel: {},
  merge: (tensor) => {
    const { t } = tensor.parameters;
    tensor.write(({ models, base, length }, out) => {
      const other = models[0]!;
      for (let j = 0; j < length; j++) {
        const a = base[j]!;
        const b = other[j]!;
        const alpha = Math.min(1, Math.max(0, t / Math.max(1e-6, Math.abs(b - a))));
        out[j] = alpha * b + (1 - alpha) * a;
      }
    });
  },
});
