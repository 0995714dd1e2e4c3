/** Mixtral (arXiv 2401.04088): Mistral with a mixture of MLPs in place of each. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation } from "./activations.js";
import { decoderFields, decoderSizes } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, neutral, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const mixtralConfigSchema = z.looseObject({
  model_type: z.literal("mixtral").default("mixtral"),
  ...decoderFields,
  hidden_act: z.enum(["silu", "swish"]).default("silu"),
  num_key_value_heads: z.number().int().positive().nullable().default(8),
  rms_norm_eps: z.number().positive().default(1e-5),
  max_position_embeddings: z.number().int().positive().default(131_072),
  sliding_window: z.number().int().positive().nullish(),
  num_local_experts: z.number().int().positive().default(8),
  num_experts_per_tok: z.number().int().positive().default(2),
  partial_rotary_factor: only(1),
  // Noise on what the router reads, in train mode.
  router_jitter_noise: only(0),
  // A loss of its own, which is added nowhere here: a task's loss is of its answers.
  ...neutral("output_router_logits", "router_aux_loss_coef"),
});
export type MixtralConfig = z.input<typeof mixtralConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Mixtral */
export const mixtral: Build<MixtralConfig> = mixtralFromConfig;

/** The same from a config that nothing is known of yet. */
export function mixtralFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("mixtral", mixtralConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "mixtral", headDim: sizes.headDim, theta: 1e6 });
  const { sliding_window: window } = c;
  return gatedDecoder(
    {
      architecture: "mixtral",
      ...sizes,
      activation: activation(c.hidden_act),
      rotary: () => rotary,
      window: () => window ?? undefined,
      experts: { count: c.num_local_experts, active: c.num_experts_per_tok },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
