/** Qwen3 (arXiv 2505.09388): Llama with norms of every head's queries and keys; later blocks may see a window. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation, activationName } from "./activations.js";
import { decoderFields, decoderSizes, qwenWindows, windowFields } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const qwen3ConfigSchema = z.looseObject({
  model_type: z.literal("qwen3").default("qwen3"),
  ...decoderFields,
  ...windowFields,
  hidden_act: activationName.default("silu"),
  head_dim: z.number().int().positive().default(128),
  max_position_embeddings: z.number().int().positive().default(32_768),
  attention_bias: z.boolean().default(false),
  partial_rotary_factor: only(1),
});
export type Qwen3Config = z.input<typeof qwen3ConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Qwen3 */
export const qwen3: Build<Qwen3Config> = qwen3FromConfig;

/** The same from a config that nothing is known of yet. */
export function qwen3FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("qwen3", qwen3ConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "qwen3", headDim: sizes.headDim, theta: 10_000 });
  return gatedDecoder(
    {
      architecture: "qwen3",
      ...sizes,
      activation: activation(c.hidden_act),
      rotary: () => rotary,
      window: qwenWindows("qwen3", c),
      headNorms: true,
      bias: { qkv: c.attention_bias, o: c.attention_bias },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
