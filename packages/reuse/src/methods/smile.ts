/**
 * SMILE (arXiv 2408.10174): a sparse mixture of low-rank experts without any training. Every linear layer keeps the base's weights; of each
 * model's task vector the first k singular terms are an expert, and a token goes to the experts on whose leading input directions it lies longest.
 */

import {
  type Delta,
  defineMethod,
  type HostTensor,
  LfmError,
  type Model,
  makeDelta,
  modelInput,
  namedWeightsInput,
  parentInput,
  throwIfAborted,
  type Weights,
  withDeltas,
} from "@lfm/core";
import { gramSites } from "@lfm/statistics";
import { z } from "zod";
import { expertsOfLinear, lowRankExpertHooks } from "../data-driven/low-rank-experts.js";
import { applyCoefficients, stackTaskVectors } from "../data-driven/task-vector-stack.js";

export interface SmileInputs {
  /** The model that all were tuned from. */
  readonly model: Model;
  readonly models: Readonly<Record<string, Weights>>;
  /** Hash of the base, recorded in the delta. */
  readonly parent?: string;
}

export interface SmileOutput {
  readonly delta: Delta;
  readonly model: Model;
}

const config = z.strictObject({
  k: z.number().int().positive().default(128).describe("rank of each expert; more than a layer has: the whole task vector"),
  gateK: z.number().int().positive().default(1).describe("leading input directions of each expert that decide about routing"),
  topK: z.number().int().positive().default(1).describe("experts that answer for a token"),
  rest: z.enum(["base", "average"]).default("base").describe("parameters outside linear layers: the base's, or the average of the models"),
});

export const smile = defineMethod({
  id: "smile",
  paradigm: "reuse",
  summary: "Makes each linear layer a mixture of low-rank experts, one per model, routed by the subspaces of the task vectors.",
  paper: {
    title: "SMILE: Zero-Shot Sparse Mixture of Low-Rank Experts Construction From Pre-Trained Foundation Models",
    arxiv: "2408.10174",
    year: 2024,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "activations"],
  inputs: {
    model: { kind: modelInput, as: "base", about: "the model that all others were tuned from" },
    models: namedWeightsInput,
    parent: parentInput,
  },
  config,
  delta: { hooks: (c, tensors) => lowRankExpertHooks(tensors, c) },
  run: async (inputs: SmileInputs, c, context): Promise<SmileOutput> => {
    const { model } = inputs;
    const models = Object.keys(inputs.models).length;
    if (c.topK > models) throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] smile: topK ${c.topK} of ${models} models`);
    const stack = stackTaskVectors(model, inputs.models);
    const sites = gramSites(model).filter((s) => stack.vectors[s.weight!.name]);
    const tensors: Record<string, HostTensor> = {};
    const taken = new Set<string>();
    for (const [done, site] of sites.entries()) {
      throwIfAborted(context.signal, `[@lfm/reuse] smile ${site.path}`);
      const { name, bias } = site.weight!;
      Object.assign(
        tensors,
        expertsOfLinear(site, stack.vectors[name]!, bias === undefined ? undefined : stack.vectors[bias], c, context.rng),
      );
      taken.add(name).add(bias ?? name);
      context.progress({ phase: "experts", done: done + 1, total: sites.length, unit: "layer" });
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    if (c.rest === "average") {
      const average = applyCoefficients(stack, () => new Array<number>(models).fill(1 / models));
      for (const name of stack.names) if (!taken.has(name)) tensors[name] = average[name]!;
    }
    const delta = makeDelta(smile, c, tensors, { parent: inputs.parent ?? null });
    return { delta, model: withDeltas(model, [delta]) };
  },
});
