/**
 * Git Re-Basin: models that were trained apart compute alike with their units in other orders; brought into one order, their average works.
 * Weight matching is Algorithm 1, activation matching §3.1, more than two models Algorithm 3 (each in turn matched to the mean of the others).
 */

import {
  type Delta,
  defineMethod,
  type HostTensor,
  isFloatType,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  modelsInput,
  replacedParameters,
  throwIfAborted,
  type Weights,
  widenToF32,
  withDeltas,
} from "@lfm/core";
import { z } from "zod";
import { activationMatching } from "../alignment/activation-matching.js";
import { type AlignedModels, type AlignmentInputs, readModels, shares, withNorms } from "../alignment/inputs.js";
import { type GroupPermutation, identityPermutations, type Permutations, permuteWeights } from "../alignment/permutation-spec.js";
import { weightedSum } from "../alignment/unit-maps.js";
import { matchingValue, weightMatching } from "../alignment/weight-matching.js";
import { examplesInput } from "../input-kinds.js";

export interface ReBasinOutput {
  /** On the first model: the average of the aligned models, f32. */
  readonly delta: Delta;
  readonly model: Model;
  /** Each model in the common order: the same function as before. */
  readonly aligned: Readonly<Record<string, Weights>>;
  /** What brought each model there. */
  readonly permutations: Readonly<Record<string, Permutations>>;
}

const config = z.strictObject({
  match: z.enum(["weights", "activations"]).default("weights").describe("what units are matched by"),
  similarity: z
    .enum(["inner", "correlation"])
    .default("inner")
    .describe("of activations: E[a·b] as in the paper, or Pearson's correlation, which scale does not sway"),
  iterations: z.number().int().positive().default(100).describe("most passes over all groups of units"),
  restarts: z.number().int().positive().default(1).describe("runs of weight matching in other random orders; the best value counts"),
  weights: z.array(z.number()).optional().describe("weight of each model in the average; default 1 each"),
});

export const reBasin = defineMethod({
  id: "re-basin",
  paradigm: "reuse",
  summary: "Permutes the units of models that were trained apart into one order, then averages them.",
  paper: {
    title: "Git Re-Basin: Merging Models modulo Permutation Symmetries",
    arxiv: "2209.04836",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights"],
  inputs: {
    models: modelsInput,
    data: {
      kind: examplesInput,
      about: "for activations; labels are not looked at",
      when: (c) => c.match === "activations",
      hint: "--match activations",
    },
  },
  config,
  delta: replacedParameters,
  run: async (inputs: AlignmentInputs, c, context): Promise<ReBasinOutput> => {
    throwIfAborted(context.signal, "[@lfm/reuse] re-basin");
    const read = readModels(inputs, "re-basin");
    const w = shares(c.weights, read.models.length);
    const found = c.match === "weights" ? matchWeights(read, c, context) : await matchActivations(read, inputs, c, context);
    const aligned = read.models.map((m, k) => permuteWeights(read.specs[0]!, found[k]!, m.params));
    const [first] = read.models as [Model];
    const merged = await withNorms(first, weightedSum(aligned.map(widened), w), inputs, context);
    const delta = makeDelta(reBasin, c, merged, { parent: inputs.parent ?? null });
    const byName = <T>(values: readonly T[]): Record<string, T> => Object.fromEntries(read.names.map((n, k) => [n, values[k]!]));
    return { delta, model: withDeltas(first, [delta]), aligned: byName(aligned), permutations: byName(found) };
  },
});

type Config = z.output<typeof config>;

function matchWeights({ models, specs }: AlignedModels, c: Config, context: MethodContext): Permutations[] {
  const spec = specs[0]!;
  const found: Record<string, GroupPermutation>[] = models.map(() => identityPermutations(spec));
  const sweeps = models.length === 2 ? 1 : c.iterations;
  const total = sweeps * models.length * c.restarts * c.iterations;
  let done = 0;
  const report = (value: number): void =>
    context.progress({ phase: "match", done: Math.min(total, ++done), total, unit: "pass", values: { gain: value } });
  const best = (target: Weights, k: number, label: string): Permutations => {
    const tries = Array.from({ length: c.restarts }, (_, r) => {
      const options = {
        iterations: c.iterations,
        rng: context.rng.split(`${label}/${r}`),
        ...(context.signal ? { signal: context.signal } : {}),
      };
      const { permutations } = weightMatching(spec, target, models[k]!.params, { ...options, onPass: ({ gain }) => report(gain) });
      return { permutations, value: c.restarts > 1 || sweeps > 1 ? matchingValue(spec, target, models[k]!.params, permutations) : 0 };
    });
    return tries.reduce((a, b) => (b.value > a.value ? b : a)).permutations;
  };
  if (models.length === 2) return [found[0]!, best(models[0]!.params, 1, "pair")];
  for (let sweep = 0; sweep < sweeps; sweep++) {
    let gained = false;
    for (const k of context.rng.split(`sweep ${sweep}`).shuffle(models.map((_, i) => i))) {
      const others = models.flatMap((m, i) => (i === k ? [] : [widened(permuteWeights(spec, found[i]!, m.params))]));
      const mean = weightedSum(
        others,
        others.map(() => 1 / others.length),
      );
      const candidate = best(mean, k, `${sweep}/${k}`);
      const [before, after] = [found[k]!, candidate].map((p) => matchingValue(spec, mean, models[k]!.params, p));
      if (after! <= before! + 1e-12 * Math.abs(before!)) continue;
      found[k] = candidate as Record<string, GroupPermutation>;
      gained = true;
    }
    if (!gained) break;
  }
  return found;
}

async function matchActivations(
  { models, specs }: AlignedModels,
  inputs: AlignmentInputs,
  c: Config,
  context: MethodContext,
): Promise<Permutations[]> {
  const found: Permutations[] = [identityPermutations(specs[0]!)];
  const batches = inputs.data?.length ?? 0;
  const total = batches * (models.length - 1);
  for (const [k, m] of models.slice(1).entries()) {
    const onBatch = (done: number): void => context.progress({ phase: "activations", done: k * batches + done, total, unit: "batch" });
    const options = { similarity: c.similarity, onBatch, ...(context.signal ? { signal: context.signal } : {}) };
    found.push(await activationMatching(context.engine, specs[0]!, models[0]!, m, inputs.data ?? [], options));
  }
  return found;
}

function widened(weights: Weights): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(weights).map(([name, w]) => [name, isFloatType(w.dtype) ? widenToF32(loadWeight(w)) : loadWeight(w)]),
  );
}
