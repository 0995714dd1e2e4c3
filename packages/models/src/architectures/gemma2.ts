/**
 * Gemma 2 (arXiv 2408.00118): Llama with norms on both sides of every part, which scale by 1 + weight; scaled embeddings, soft caps on scores and
 * logits, and a window in every other block. Names as in the HF checkpoint.
 */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation } from "./activations.js";
import { alternatingFields, decoderSizes, laterGemmaFields, windows } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const gemma2ConfigSchema = z.looseObject({
  model_type: z.literal("gemma2").default("gemma2"),
  ...laterGemmaFields,
  ...alternatingFields,
  max_position_embeddings: z.number().int().positive().default(8192),
  final_logit_softcapping: z.number().positive().nullable().default(30),
  attn_logit_softcapping: z.number().positive().nullable().default(50),
});
export type Gemma2Config = z.input<typeof gemma2ConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Gemma 2 */
export const gemma2: Build<Gemma2Config> = gemma2FromConfig;

/** The same from a config that nothing is known of yet. */
export function gemma2FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("gemma2", gemma2ConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "gemma2", headDim: sizes.headDim, theta: 10_000 });
  return gatedDecoder(
    {
      architecture: "gemma2",
      ...sizes,
      activation: activation(c.hidden_activation),
      rotary: () => rotary,
      window: windows("gemma2", c, c.sliding_window, (layer) => layer % 2 === 0),
      normsBehind: true,
      unitNorms: true,
      embeddingScale: Math.fround(Math.sqrt(c.hidden_size)),
      scoreScale: c.query_pre_attn_scalar ** -0.5,
      caps: { scores: c.attn_logit_softcapping ?? undefined, logits: c.final_logit_softcapping ?? undefined },
      bias: { qkv: c.attention_bias, o: c.attention_bias },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
