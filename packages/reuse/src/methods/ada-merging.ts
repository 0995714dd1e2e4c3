/**
 * AdaMerging (arXiv 2310.02575): θ = θ₀ + Σᵢ λᵢτᵢ, λ learned by making answers to unlabelled examples certain (least entropy), by gradient
 * through the sum. `task`: one λ per model; `layer`: one per model and tensor, as in the authors' code. AdaMerging++: on task vectors that
 * TIES has trimmed and freed of conflicting signs.
 */

import {
  clip,
  defineMethod,
  f32,
  type HostTensor,
  type Model,
  makeDelta,
  modelInput,
  namedWeightsInput,
  replacedParameters,
  split,
  type Tensor,
  type Weights,
  withDeltas,
} from "@lfm/core";
import type { TaskProbe } from "@lfm/statistics";
import type { FitResult } from "@lfm/train";
import { z } from "zod";
import { adaptationFields, adaptByEntropy } from "../data-driven/adaptation.js";
import { probesOf } from "../data-driven/task-probes.js";
import {
  applyCoefficients,
  frozenStack,
  mergedTree,
  stackTaskVectors,
  type TaskVectorStack,
  trimVectors,
} from "../data-driven/task-vector-stack.js";
import { taskProbesInput } from "../input-kinds.js";
import type { MergeOutput } from "../inputs.js";

export interface AdaptedMergeInputs {
  /** The model that all were tuned from. */
  readonly model: Model;
  /** Weights tuned from it, by name. */
  readonly models: Readonly<Record<string, Weights>>;
  /** Unlabelled examples of each model's task, under the model's name. */
  readonly tasks: Readonly<Record<string, TaskProbe>>;
  /** Hash of the base, recorded in the delta. */
  readonly parent?: string;
}

/** The delta holds the parameters that some model changed. */
export interface AdaMergingOutput extends MergeOutput {
  readonly model: Model;
  /** λ of each model by parameter, in the order of the models; with `task` all parameters have the same. */
  readonly coefficients: Readonly<Record<string, readonly number[]>>;
  readonly curves: FitResult["curves"];
}

const config = z.strictObject({
  granularity: z.enum(["task", "layer"]).default("layer").describe("one coefficient per model, or per model and tensor"),
  init: z.number().default(0.3).describe("coefficients λ to start from"),
  clamp: z.boolean().default(false).describe("coefficients count as clamped to 0..1, as in the authors' code"),
  density: z.number().gt(0).max(1).default(1).describe("share of entries that each task vector keeps, over the whole model"),
  elect: z.boolean().default(false).describe("drop entries whose sign loses the election among the task vectors"),
  ...adaptationFields,
});

export const adaMerging = defineMethod({
  id: "ada-merging",
  paradigm: "reuse",
  summary: "Learns the scales of task vectors, per model or per tensor, from unlabelled examples.",
  paper: {
    title: "AdaMerging: Adaptive Model Merging for Multi-Task Learning",
    arxiv: "2310.02575",
    year: 2023,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "grad", "logits"],
  inputs: {
    model: { kind: modelInput, as: "base", about: "the model that all others were tuned from" },
    models: namedWeightsInput,
    tasks: { kind: taskProbesInput, about: "answers to them are made certain; which of its labels an example has is not looked at" },
  },
  config,
  presets: {
    "task-wise": { summary: "one coefficient per model", config: { granularity: "task" } },
    "layer-wise": { summary: "one coefficient per model and tensor", config: { granularity: "layer" } },
    "task-wise-plus": { summary: "task-wise AdaMerging++", config: { granularity: "task", density: 0.2, elect: true } },
    "layer-wise-balanced": {
      summary: "layer-wise, and answers to a batch must not all be one (not in the paper)",
      config: { granularity: "layer", balance: 1 },
    },
    "layer-wise-plus": { summary: "layer-wise AdaMerging++", config: { granularity: "layer", density: 0.2, elect: true } },
  },
  delta: replacedParameters,
  run: async (inputs: AdaptedMergeInputs, c, context): Promise<AdaMergingOutput> => {
    const probes = probesOf(inputs.models, inputs.tasks);
    const whole = stackTaskVectors(inputs.model, inputs.models);
    const stack = c.density < 1 || c.elect ? trimVectors(whole, c.density, c.elect) : whole;
    const rows = c.granularity === "task" ? 1 : stack.names.length;
    const initial = f32(new Float32Array(rows * probes.length).fill(c.init), [rows, probes.length]);
    const { params: learned, curves } = await adaptByEntropy(probes, c, context, "ada-merging", {
      trainable: { coefficients: initial },
      frozen: frozenStack(inputs.model, stack),
      forward: (params, probe, batch) => {
        const tree = mergedTree(stack, params, coefficientsOf(stack, params.coefficients!, rows, c.clamp));
        return inputs.model.forward(tree, probe.input(batch), { mode: "eval" });
      },
    });
    const coefficients = hostCoefficients(stack, learned.coefficients!, rows, c.clamp);
    const merged = applyCoefficients(stack, (name) => coefficients[name]!);
    const delta = makeDelta(adaMerging, c, merged, { parent: inputs.parent ?? null });
    return { delta, model: withDeltas(inputs.model, [delta]), coefficients, curves };
  },
});

/** f32[1, models] for each tensor. */
function coefficientsOf(stack: TaskVectorStack, all: Tensor, rows: number, clamp: boolean): Record<string, Tensor> {
  const used = clamp ? clip(all, 0, 1) : all;
  const each = rows === 1 ? [used] : split(used, 0, rows);
  return Object.fromEntries(stack.names.map((name, i) => [name, each[rows === 1 ? 0 : i]!]));
}

function hostCoefficients(stack: TaskVectorStack, all: HostTensor, rows: number, clamp: boolean): Record<string, number[]> {
  const models = all.shape[1]!;
  const value = (v: number): number => (clamp ? Math.min(1, Math.max(0, v)) : v);
  return Object.fromEntries(
    stack.names.map((name, i) => {
      const at = (rows === 1 ? 0 : i) * models;
      return [name, Array.from((all.data as Float32Array).subarray(at, at + models), value)];
    }),
  );
}
