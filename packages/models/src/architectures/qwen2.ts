/** Qwen2 (arXiv 2407.10671): Llama with biases of q, k and v; later blocks may see a window. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { readRotary } from "../rotary.js";
import { activation, activationName } from "./activations.js";
import { decoderFields, decoderSizes, qwenWindows, windowFields } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, only, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const qwen2ConfigSchema = z.looseObject({
  model_type: z.literal("qwen2").default("qwen2"),
  ...decoderFields,
  ...windowFields,
  hidden_act: activationName.default("silu"),
  max_position_embeddings: z.number().int().positive().default(32_768),
  partial_rotary_factor: only(1),
});
export type Qwen2Config = z.input<typeof qwen2ConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Qwen2 */
export const qwen2: Build<Qwen2Config> = qwen2FromConfig;

/** The same from a config that nothing is known of yet. */
export function qwen2FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("qwen2", qwen2ConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(c, { architecture: "qwen2", headDim: sizes.headDim, theta: 10_000 });
  return gatedDecoder(
    {
      architecture: "qwen2",
      ...sizes,
      activation: activation(c.hidden_act),
      rotary: () => rotary,
      window: qwenWindows("qwen2", c),
      bias: { qkv: true },
      dropout: { attention: c.attention_dropout ?? 0 },
    },
    weights,
  );
}
