/**
 * The language model of Gemma 3 (arXiv 2503.19786): Gemma 2 without its caps on scores, with norms of every head's queries and keys; five blocks
 * that see a window, then one that sees everything, each kind with rotary positions of its own. Names as in the HF checkpoint.
 */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { type RotaryParameters, readRotary, rotaryField } from "../rotary.js";
import { activation } from "./activations.js";
import { alternatingFields, decoderSizes, laterGemmaFields, windows } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const gemma3ConfigSchema = z.looseObject({
  model_type: z.literal("gemma3_text").default("gemma3_text"),
  ...laterGemmaFields,
  ...alternatingFields,
  max_position_embeddings: z.number().int().positive().default(131_072),
  final_logit_softcapping: z.number().positive().nullish(),
  // transformers' class names it and no layer reads it.
  attn_logit_softcapping: only(null),
  /** One block in so many sees everything, where layer_types says nothing. */
  sliding_window_pattern: z.number().int().positive().default(6),
  rope_parameters: z.looseObject({ full_attention: rotaryField, sliding_attention: rotaryField }).nullish(),
  rope_local_base_freq: z.number().positive().nullish(),
});
export type Gemma3Config = z.input<typeof gemma3ConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Gemma 3's language model */
export const gemma3: Build<Gemma3Config> = gemma3FromConfig;

/** The same from a config that nothing is known of yet. */
export function gemma3FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("gemma3_text", gemma3ConfigSchema, config);
  const sizes = decoderSizes(c);
  const turn = (parameters: RotaryParameters, theta: number): ReturnType<typeof readRotary> =>
    readRotary(
      { max_position_embeddings: c.max_position_embeddings, rope_parameters: parameters },
      { architecture: "gemma3_text", headDim: sizes.headDim, theta },
    );
  const { full_attention: full, sliding_attention: local } = c.rope_parameters ?? {};
  // The older rope_scaling is of the blocks that see everything.
  const everywhere = turn({ ...full, ...c.rope_scaling }, c.rope_theta ?? 1e6);
  const near = turn({ ...local }, c.rope_local_base_freq ?? 10_000);
  const window = windows("gemma3_text", c, c.sliding_window, (layer) => (layer + 1) % c.sliding_window_pattern !== 0);
  return gatedDecoder(
    {
      architecture: "gemma3_text",
      ...sizes,
      activation: activation(c.hidden_activation),
      rotary: (layer) => (window(layer) === undefined ? everywhere : near),
      window,
      headNorms: true,
      normsBehind: true,
      unitNorms: true,
      embeddingScale: Math.fround(Math.sqrt(c.hidden_size)),
      scoreScale: c.query_pre_attn_scalar ** -0.5,
      caps: { logits: c.final_logit_softcapping ?? undefined },
      bias: { qkv: c.attention_bias, o: c.attention_bias },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
