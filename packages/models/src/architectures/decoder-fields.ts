/** Fields that the configs of decoders with rotary positions share, under transformers' names. */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { rotaryFields } from "../rotary.js";
import { activationName } from "./activations.js";
import type { GatedDecoder } from "./gated-decoder.js";
import { commonFields, only, paddingToken } from "./parse-config.js";

const count = z.number().int().positive();

export const decoderFields = {
  ...commonFields,
  ...rotaryFields,
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  rms_norm_eps: z.number().positive().default(1e-6),
  attention_dropout: z.number().min(0).lt(1).nullish(),
  tie_word_embeddings: z.boolean().default(false),
} as const;

type DecoderConfig = Pick<
  z.output<z.ZodObject<typeof decoderFields>>,
  | "vocab_size"
  | "hidden_size"
  | "intermediate_size"
  | "num_hidden_layers"
  | "num_attention_heads"
  | "num_key_value_heads"
  | "head_dim"
  | "rms_norm_eps"
  | "tie_word_embeddings"
  | "pad_token_id"
>;

/** Sizes of a decoder from its config. */
export function decoderSizes(
  c: DecoderConfig,
): Pick<
  GatedDecoder,
  "config" | "vocabulary" | "hidden" | "inner" | "layers" | "heads" | "kvHeads" | "headDim" | "epsilon" | "tied" | "padding"
> {
  return {
    config: { ...c },
    vocabulary: c.vocab_size,
    hidden: c.hidden_size,
    inner: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    kvHeads: c.num_key_value_heads ?? c.num_attention_heads,
    headDim: c.head_dim ?? Math.trunc(c.hidden_size / c.num_attention_heads),
    epsilon: c.rms_norm_eps,
    tied: c.tie_word_embeddings,
    padding: c.pad_token_id,
  };
}

const layerTypes = z.array(z.enum(["full_attention", "sliding_attention"])).nullish();

/** Of Qwen2 and Qwen3: blocks that see a window are named one by one, or are those from one on. */
export const windowFields = {
  use_sliding_window: z.boolean().default(false),
  sliding_window: count.nullish(),
  max_window_layers: z.number().int().min(0).default(28),
  layer_types: layerTypes,
} as const;

/** Of all Gemmas. */
export const gemmaFields = {
  ...decoderFields,
  head_dim: count.default(256),
  attention_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
  pad_token_id: paddingToken.default(0),
  partial_rotary_factor: only(1),
  // An encoder: every token sees every other.
  use_bidirectional_attention: only(false),
} as const;

/** Of Gemma 2 and 3. */
export const laterGemmaFields = {
  ...gemmaFields,
  num_key_value_heads: count.nullable().default(4),
  hidden_activation: activationName.default("gelu_pytorch_tanh"),
  query_pre_attn_scalar: z.number().positive().default(256),
} as const;

/** Of Gemma: windows alternate with blocks that see everything. */
export const alternatingFields = { sliding_window: count.nullish().default(4096), layer_types: layerTypes } as const;

interface LayerTypesConfig {
  readonly num_hidden_layers: number;
  readonly layer_types?: readonly string[] | null | undefined;
}

/**
 * Keys that a block's queries see.
 * @param byDefault whether a block sees a window where the config names none
 * @throws {LfmError} CONFIG_INVALID where blocks shall see a window and there is none, or not every block is named
 */
export function windows(
  architecture: string,
  c: LayerTypesConfig,
  window: number | null | undefined,
  byDefault: (layer: number) => boolean,
): (layer: number) => number | undefined {
  const named = c.layer_types;
  if (named && named.length !== c.num_hidden_layers)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/models] ${architecture}: layer_types names ${named.length} blocks, num_hidden_layers ${c.num_hidden_layers}`,
    );
  const slides = (layer: number): boolean => (named ? named[layer] === "sliding_attention" : byDefault(layer));
  const any = Array.from({ length: c.num_hidden_layers }, (_, i) => slides(i)).some(Boolean);
  if (any && !window)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${architecture}: some blocks see a window, but sliding_window is not given`, {
      hint: "sliding_window is its length in tokens; Qwen's configs switch it on by use_sliding_window",
    });
  return (layer) => (slides(layer) ? (window ?? undefined) : undefined);
}

/** Of Qwen2 and Qwen3. @throws {LfmError} CONFIG_INVALID */
export function qwenWindows(
  architecture: string,
  c: LayerTypesConfig & {
    readonly use_sliding_window: boolean;
    readonly sliding_window?: number | null | undefined;
    readonly max_window_layers: number;
  },
): (layer: number) => number | undefined {
  const window = c.use_sliding_window ? (c.sliding_window === undefined ? 4096 : c.sliding_window) : undefined;
  return windows(architecture, c, window, (layer) => Boolean(window) && layer >= c.max_window_layers);
}
