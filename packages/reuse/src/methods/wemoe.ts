/**
 * Weight-ensembling MoE (arXiv 2402.00433): everything but the MLPs is merged by task arithmetic, θ₀ + λΣτᵢ; each MLP gets a router that
 * mixes its task vectors for what it reads, θ₀ + Σ wᵢ(x)τᵢ. Routers start at wᵢ = λ and learn by making answers to unlabelled examples certain.
 */

import {
  type Delta,
  defineMethod,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  makeDelta,
  modelInput,
  namedWeightsInput,
  parentInput,
  type Rng,
  withDeltas,
  zeros,
} from "@lfm/core";
import type { FitResult } from "@lfm/train";
import { z } from "zod";
import { adaptationFields, adaptByEntropy } from "../data-driven/adaptation.js";
import { probesOf } from "../data-driven/task-probes.js";
import { applyCoefficients, stackTaskVectors, type TaskVectorStack } from "../data-driven/task-vector-stack.js";
import { expertsName, isExperts, mixingHooks, mlpLinears, routerName } from "../data-driven/weight-ensembling.js";
import { taskProbesInput } from "../input-kinds.js";
import type { AdaptedMergeInputs } from "./ada-merging.js";

export interface WemoeOutput {
  /** Merged weights, task vectors of the MLPs and routers. */
  readonly delta: Delta;
  readonly model: Model;
  readonly curves: FitResult["curves"];
}

const config = z.strictObject({
  init: z.number().default(0.3).describe("λ of the parts that are merged, and what the routers start from"),
  routerLayers: z.number().int().min(0).max(2).default(2).describe("layers of each router; 0: coefficients that do not look at the input"),
  routing: z
    .enum(["sequence", "token"])
    .default("sequence")
    .describe("one mixture per sequence, from all its tokens, or one per token; a language model that generates needs token"),
  ...adaptationFields,
  steps: z.number().int().min(0).default(1000).describe("Adam steps; each sees one batch of every task"),
  lr: z.number().positive().default(1e-4).describe("step size η of Adam"),
});

export const wemoe = defineMethod({
  id: "wemoe",
  paradigm: "reuse",
  summary: "Mixes the task vectors of each MLP anew for every input, by a small router that learns without labels.",
  paper: {
    title: "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts",
    arxiv: "2402.00433",
    year: 2024,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "grad", "logits", "activations"],
  inputs: {
    model: { kind: modelInput, as: "base", about: "the model that all others were tuned from" },
    models: namedWeightsInput,
    tasks: { kind: taskProbesInput, about: "answers to them are made certain; which of its labels an example has is not looked at" },
    parent: parentInput,
  },
  config,
  delta: { hooks: (c, tensors) => mixingHooks(tensors, c), frozen: isExperts },
  run: async (inputs: AdaptedMergeInputs, c, context): Promise<WemoeOutput> => {
    const { model } = inputs;
    const probes = probesOf(inputs.models, inputs.tasks);
    const stack = stackTaskVectors(model, inputs.models);
    const { experts, paths } = expertsOf(model, stack);
    const n = probes.length;
    const mixed = new Set(Object.keys(experts));
    const merged = applyCoefficients(stack, () => new Array<number>(n).fill(c.init));
    const replaced = Object.fromEntries(Object.entries(merged).filter(([name]) => !mixed.has(expertsName(name))));
    const routers = initRouters(paths, model.info.hiddenSize, n, c, context.rng.split("routers"));
    const { params: learned, curves } = await adaptByEntropy(probes, c, context, "wemoe", {
      trainable: routers,
      frozen: { ...model.params, ...replaced, ...experts },
      forward: (params, probe, batch) => model.forward(params, probe.input(batch), { mode: "train", hooks: mixingHooks(params, c) }),
    });
    const delta = makeDelta(wemoe, c, { ...replaced, ...experts, ...learned }, { parent: inputs.parent ?? null });
    return { delta, model: withDeltas(model, [delta]), curves };
  },
});

/** Task vectors of the MLPs' layers, f32[models, …shape], and the MLPs that have any. @throws {LfmError} CAPABILITY_MISSING */
function expertsOf(
  model: Model,
  stack: TaskVectorStack,
): { readonly experts: Record<string, HostTensor>; readonly paths: readonly string[] } {
  const all = mlpLinears(model);
  if (all.size === 0) throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] ${model.info.architecture} has no MLPs that could be mixed`);
  const experts: Record<string, HostTensor> = {};
  const paths: string[] = [];
  for (const [mlp, linears] of all) {
    const changed = linears.filter((s) => stack.vectors[s.weight!.name]);
    if (changed.length > 0) paths.push(mlp.path);
    for (const { weight } of changed)
      for (const name of [weight!.name, ...(weight!.bias ? [weight!.bias] : [])]) {
        const vectors = stack.vectors[name];
        if (vectors) experts[expertsName(name)] = { ...vectors, shape: [vectors.shape[0]!, ...stack.base[name]!.shape] };
      }
  }
  return { experts, paths };
}

/** As the authors: weights N(0, .01²), biases 0, the last bias λ. */
function initRouters(
  paths: readonly string[],
  hidden: number,
  models: number,
  c: Pick<z.output<typeof config>, "routerLayers" | "init">,
  rng: Rng,
): Record<string, HostTensor> {
  const tensors: Record<string, HostTensor> = {};
  const start = (): HostTensor => f32(new Float32Array(models).fill(c.init));
  for (const path of paths) {
    if (c.routerLayers === 0) tensors[routerName(path, 0, "bias")] = start();
    for (let i = 0; i < c.routerLayers; i++) {
      const last = i === c.routerLayers - 1;
      const out = last ? models : hidden;
      tensors[routerName(path, i, "weight")] = f32(rng.split(`${path}.${i}`).normalArray(out * hidden, 0.01), [out, hidden]);
      tensors[routerName(path, i, "bias")] = last ? start() : zeros([out]);
    }
  }
  return tensors;
}
