/**
 * DARE (arXiv 2311.03099): drop entries of each task vector at random, keep a share `density`, rescale what is left; then merge linearly
 * (`dare-linear`) or by elected signs (`dare-ties`).
 * The paper rescales by 1/density (`mode: paper`); mergekit so that the L1 norm of the tensor is what it was.
 */
import { z } from "zod";
import { defineMerge, type MergeTensor } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";
import { dropRandomly, type RandomMask, randomMask } from "../merging/sparsify.js";
import { addTaskVectors, prepareElection, toTaskVectors } from "../merging/task-vectors.js";
import { scaled } from "./task-arithmetic.js";

export const dare = defineMerge({
  id: "dare",
  summary: "Drops entries of task vectors at random and rescales the rest before merging.",
  paper: {
    title: "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch",
    arxiv: "2311.03099",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  mergekit: ["dare_linear", "dare_ties"],
  base: "required",
  models: [1, Number.POSITIVE_INFINITY],
  shared: {
    consensus: z.enum(["none", "sum"]).default("none").describe("add task vectors up, or elect signs as TIES"),
    lambda: z.number().default(1).describe("scale λ of the merged task vector"),
    normalize: z.boolean().default(false).describe("divide by the sum of weights (of those that agree)"),
    rescale: z.boolean().default(true).describe("make up for what was dropped"),
    mode: z.enum(["mergekit", "paper"]).default("mergekit").describe("rescale to the same L1 norm (mergekit) or by 1/density (paper)"),
  },
  perModel: {
    weight: z.number().default(1).describe("weight w of the task vector"),
    density: z.number().min(0).max(1).default(1).describe("chance that an entry stays"),
  },
  presets: {
    "dare-linear": { summary: "task vectors are added", config: { consensus: "none" } },
    "dare-ties": { summary: "signs are elected as by TIES", config: { consensus: "sum" } },
  },
  merge: (tensor) => {
    const { consensus, lambda, normalize, rescale, mode } = tensor.parameters;
    const masks = tensor.models.map(({ parameters: { density } }, i) =>
      density < 1 ? randomMask(tensor.rng.split(i), density) : undefined,
    );
    const factors = !rescale
      ? masks.map(() => 1)
      : mode === "paper"
        ? masks.map((m) => (m && m.density > 0 ? 1 / m.density : 1))
        : l1Factors(tensor, masks);
    const weights = tensor.models.map((m) => m.parameters.weight);
    const k = kernels();
    const mark = k.mark();
    const elect = consensus === "sum" ? prepareElection({ weights, lambda, normalize, consensus }) : undefined;
    const scales = scaled(weights, lambda, normalize).map((w, i) => w * factors[i]!);
    tensor.write((chunk, out) => {
      toTaskVectors(chunk);
      for (const [i, values] of chunk.models.entries()) {
        if (masks[i]) dropRandomly(values, chunk.start, masks[i]);
        if (elect && factors[i] !== 1) k.fn.scale(values.byteOffset, values.byteOffset, factors[i]!, values.length);
      }
      if (elect) elect(chunk, out);
      else addTaskVectors(chunk, scales, out);
    });
    k.release(mark);
  },
});

/** ‖τ‖₁ / ‖masked τ‖₁ of each model, 1 where either is next to nothing. */
export function l1Factors(tensor: MergeTensor<unknown, unknown>, masks: readonly (RandomMask | undefined)[]): number[] {
  if (masks.every((m) => m === undefined)) return masks.map(() => 1);
  const { fn } = kernels();
  const [before, after] = [masks.map(() => 0), masks.map(() => 0)];
  tensor.read((chunk) => {
    toTaskVectors(chunk);
    for (const [i, values] of chunk.models.entries()) {
      const mask = masks[i];
      if (!mask) continue;
      before[i] = before[i]! + fn.sumMagnitudes(values.byteOffset, values.length);
      dropRandomly(values, chunk.start, mask);
      after[i] = after[i]! + fn.sumMagnitudes(values.byteOffset, values.length);
    }
  });
  return masks.map((m, i) => (m && before[i]! >= 1e-7 && after[i]! >= 1e-7 ? before[i]! / after[i]! : 1));
}
