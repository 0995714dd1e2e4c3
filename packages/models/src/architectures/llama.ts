/** Llama (arXiv 2302.13971): RMS norms, rotary positions, grouped keys, SwiGLU. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation, activationName } from "./activations.js";
import { decoderFields, decoderSizes } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, neutral, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const llamaConfigSchema = z.looseObject({
  model_type: z.literal("llama").default("llama"),
  ...decoderFields,
  hidden_act: activationName.default("silu"),
  max_position_embeddings: z.number().int().positive().default(2048),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  // Its rotary embedding turns whole heads, whatever this says.
  partial_rotary_factor: only(1),
  // Products in pieces: the same sums.
  ...neutral("pretraining_tp"),
});
export type LlamaConfig = z.input<typeof llamaConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Llama */
export const llama: Build<LlamaConfig> = llamaFromConfig;

/** The same from a config that nothing is known of yet. */
export function llamaFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("llama", llamaConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "llama", headDim: sizes.headDim, theta: 10_000 });
  return gatedDecoder(
    {
      architecture: "llama",
      ...sizes,
      activation: activation(c.hidden_act),
      rotary: () => rotary,
      bias: { qkv: c.attention_bias, o: c.attention_bias, mlp: c.mlp_bias },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
