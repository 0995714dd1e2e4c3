/** Phi-3 (arXiv 2404.14219): Llama with q, k and v in one layer, gate and up in another; a part of each head may be turned alone. Names as in the HF checkpoint. */
import type { Model, Weights } from "@lfm/core";
import { z } from "zod";
import { type RotaryParameters, readRotary } from "../rotary.js";
import { activation, activationName } from "./activations.js";
import { decoderFields, decoderSizes } from "./decoder-fields.js";
import { gatedDecoder } from "./gated-decoder.js";
import { type Build, dropoutRate, neutral, paddingToken, parseConfig, type UncheckedConfig } from "./parse-config.js";

export const phi3ConfigSchema = z.looseObject({
  model_type: z.literal("phi3").default("phi3"),
  ...decoderFields,
  hidden_act: activationName.default("silu"),
  rms_norm_eps: z.number().positive().default(1e-5),
  max_position_embeddings: z.number().int().positive().default(4096),
  original_max_position_embeddings: z.number().int().positive().default(4096),
  sliding_window: z.number().int().positive().nullish(),
  resid_pdrop: dropoutRate(0),
  pad_token_id: paddingToken.default(32_000),
  // transformers' class names it and no layer reads it.
  ...neutral("embd_pdrop"),
});
export type Phi3Config = z.input<typeof phi3ConfigSchema>;

/** @throws {LfmError} CONFIG_INVALID for a config that is none of Phi-3 */
export const phi3: Build<Phi3Config> = phi3FromConfig;

/** The same from a config that nothing is known of yet. */
export function phi3FromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("phi3", phi3ConfigSchema, config);
  const sizes = decoderSizes(c);
  const rotary = readRotary(phiRotary(c), { architecture: "phi3", headDim: sizes.headDim, theta: 10_000 });
  const { sliding_window: window } = c;
  return gatedDecoder(
    {
      architecture: "phi3",
      ...sizes,
      fused: true,
      activation: activation(c.hidden_act),
      rotary: () => rotary,
      cacheBreak: rotary.border,
      window: () => window ?? undefined,
      dropout: { attention: c.attention_dropout ?? 0, residual: c.resid_pdrop },
    },
    weights,
  );
}

/** Its first configs called LongRoPE "su" or "yarn"; transformers 5 takes both for it. */
function phiRotary(c: z.output<typeof phi3ConfigSchema>): z.output<typeof phi3ConfigSchema> {
  const renamed = <P extends RotaryParameters | null | undefined>(p: P): P => {
    const type = p?.rope_type ?? p?.type;
    return type === "su" || type === "yarn" ? { ...p, rope_type: "longrope" } : p;
  };
  return { ...c, rope_scaling: renamed(c.rope_scaling), rope_parameters: renamed(c.rope_parameters) };
}
