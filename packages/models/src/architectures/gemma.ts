/** Gemma (arXiv 2403.08295): Llama with norms that scale by 1 + weight, scaled embeddings and a gated GELU. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation, activationName } from "./activations.js";
import { decoderSizes, gemmaFields } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const gemmaConfigSchema = z.looseObject({
  model_type: z.literal("gemma").default("gemma"),
  ...gemmaFields,
  num_key_value_heads: z.number().int().positive().nullable().default(16),
  hidden_act: activationName.default("gelu_pytorch_tanh"),
  max_position_embeddings: z.number().int().positive().default(8192),
});
export type GemmaConfig = z.input<typeof gemmaConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Gemma */
export const gemma: Build<GemmaConfig> = gemmaFromConfig;

/** The same from a config that nothing is known of yet. */
export function gemmaFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("gemma", gemmaConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "gemma", headDim: sizes.headDim, theta: 10_000 });
  return gatedDecoder(
    {
      architecture: "gemma",
      ...sizes,
      // The first configs say "gelu" and mean its tanh form.
      activation: activation(c.hidden_act === "gelu" ? "gelu_pytorch_tanh" : c.hidden_act),
      rotary: () => rotary,
      unitNorms: true,
      embeddingScale: Math.fround(Math.sqrt(c.hidden_size)),
      bias: { qkv: c.attention_bias, o: c.attention_bias },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
