/** Mistral (arXiv 2310.06825): Llama whose blocks all see a window, where the config gives one. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation, activationName } from "./activations.js";
import { decoderFields, decoderSizes } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const mistralConfigSchema = z.looseObject({
  model_type: z.literal("mistral").default("mistral"),
  ...decoderFields,
  hidden_act: activationName.default("silu"),
  num_key_value_heads: z.number().int().positive().nullable().default(8),
  max_position_embeddings: z.number().int().positive().default(131_072),
  sliding_window: z.number().int().positive().nullable().default(4096),
  partial_rotary_factor: only(1),
});
export type MistralConfig = z.input<typeof mistralConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Mistral */
export const mistral: Build<MistralConfig> = mistralFromConfig;

/** The same from a config that nothing is known of yet. */
export function mistralFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("mistral", mistralConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "mistral", headDim: sizes.headDim, theta: 10_000 });
  const { sliding_window: window } = c;
  return gatedDecoder(
    {
      architecture: "mistral",
      ...sizes,
      activation: activation(c.hidden_act),
      rotary: () => rotary,
      window: () => window ?? undefined,
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
