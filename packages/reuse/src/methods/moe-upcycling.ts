/**
 * Fine-tunes of one llama become the experts of a mixture (sparse upcycling, arXiv 2212.05055; mergekit's `moe`): attention, norms and embeddings
 * of the base, MLPs of the experts, in the form of Mixtral. The gate's row of an expert is the direction of the hidden states of prompts that it
 * shall answer, less those that it shall not; or random, to be trained.
 */

import {
  defineMethod,
  type HostTensor,
  LfmError,
  loadWeight,
  type Model,
  modelInput,
  namedWeightsInput,
  throwIfAborted,
  type Weights,
  widenToF32,
} from "@lfm/core";
import { z } from "zod";
import { gateRows, type Prompts } from "../data-driven/gate-rows.js";
import { expertPromptsInput } from "../input-kinds.js";

export interface MoeUpcyclingInputs {
  /** Gives everything but the MLPs. */
  readonly model: Model;
  /** Weights of the experts, by name. */
  readonly experts: Readonly<Record<string, Weights>>;
  /** What each expert shall answer, under its name; token ids. Not needed for random gates. */
  readonly prompts?: Readonly<Record<string, Prompts>>;
}

/** A model of another architecture than the base, which no delta can say. */
export interface MoeUpcyclingOutput {
  /** Under the names of a Mixtral checkpoint, f32. */
  readonly params: Readonly<Record<string, HostTensor>>;
  /** Its config.json: `modelFromConfig(config, params)` of @lfm/models runs and trains it. */
  readonly config: Readonly<Record<string, unknown>>;
}

const config = z.strictObject({
  gate: z
    .enum(["hidden", "hidden-avg", "cheap-embed", "random", "uniform-random"])
    .default("hidden")
    .describe(
      "rows of the gate: hidden state of each prompt's last token, their mean over tokens, summed embeddings, N(0, 1), U(±1/√hidden)",
    ),
  expertsPerToken: z.number().int().positive().default(2).describe("experts that answer for a token"),
});

export const moeUpcycling = defineMethod({
  id: "moe-upcycling",
  paradigm: "reuse",
  summary: "Builds a mixture of experts whose MLPs are those of several fine-tunes.",
  paper: {
    title: "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints",
    arxiv: "2212.05055",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights", "activations"],
  inputs: {
    model: { kind: modelInput, as: "base", about: "gives everything but the MLPs" },
    experts: namedWeightsInput,
    prompts: {
      kind: expertPromptsInput,
      about: "what the expert shall answer (gates that are not random)",
      when: (c) => !c.gate.endsWith("random"),
      hint: "--gate hidden",
    },
  },
  config,
  run: async (inputs: MoeUpcyclingInputs, c, context): Promise<MoeUpcyclingOutput> => {
    const { model } = inputs;
    throwIfAborted(context.signal, "[@lfm/reuse] moe-upcycling");
    const experts = Object.entries(inputs.experts);
    checkParts(model, experts.length, c.expertsPerToken);
    const params: Record<string, HostTensor> = {};
    for (const name of Object.keys(model.info.params)) if (!name.includes(".mlp.")) params[name] = widened(model.params, name, "the base");
    for (let layer = 0; layer < model.info.layers; layer++)
      for (const [e, [who, weights]] of experts.entries())
        for (const [from, to] of PARTS) {
          const name = `model.layers.${layer}.mlp.${from}.weight`;
          const t = widened(weights, name, who);
          const { shape } = model.info.params[name]!;
          if (shape.join() !== t.shape.join())
            throw new LfmError("SHAPE_MISMATCH", `[@lfm/reuse] "${name}" is [${t.shape}] in "${who}", [${shape}] in the base`);
          params[`model.layers.${layer}.block_sparse_moe.experts.${e}.${to}.weight`] = t;
        }
    const gates = await gateRows(
      model,
      experts.map(([name]) => name),
      inputs.prompts ?? {},
      c.gate,
      context,
    );
    for (const [layer, gate] of gates.entries()) params[`model.layers.${layer}.block_sparse_moe.gate.weight`] = gate;
    const own = model.info.config;
    return {
      params,
      config: {
        ...own,
        model_type: "mixtral",
        architectures: ["MixtralForCausalLM"],
        num_local_experts: experts.length,
        num_experts_per_tok: c.expertsPerToken,
        num_key_value_heads: own.num_key_value_heads ?? own.num_attention_heads,
        sliding_window: null,
        ...(own.rope_theta === undefined && !hasTheta(own.rope_parameters) ? { rope_theta: LLAMA_THETA } : {}),
      },
    };
  },
});

const PARTS = [
  ["gate_proj", "w1"],
  ["down_proj", "w2"],
  ["up_proj", "w3"],
] as const;
/** What a llama without `rope_theta` has; Mixtral's default is another. */
const LLAMA_THETA = 10000;

function hasTheta(parameters: unknown): boolean {
  return typeof parameters === "object" && parameters !== null && "rope_theta" in parameters;
}

/** @throws {LfmError} CAPABILITY_MISSING, CONFIG_INVALID */
function checkParts(model: Model, experts: number, active: number): void {
  const biased = Object.keys(model.info.params).find((name) => /_proj\.bias$/.test(name));
  if (model.info.architecture !== "llama" || biased)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/reuse] moe-upcycling: a mixture in the form of Mixtral is made of llamas without biases`,
      {
        details: { architecture: model.info.architecture, ...(biased ? { bias: biased } : {}) },
      },
    );
  if (experts < active)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] moe-upcycling: ${active} experts shall answer for a token, there are ${experts}`);
}

function widened(weights: Weights, name: string, who: string): HostTensor {
  const found = weights[name];
  if (!found) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${who}" has no parameter "${name}"`);
  return widenToF32(loadWeight(found));
}
