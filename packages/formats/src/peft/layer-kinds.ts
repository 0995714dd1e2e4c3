import { LfmError } from "@lfm/core";
import { z } from "zod";
import { commonFields, count, layerFields, names, orDefault } from "./fields.js";

const share = z.number().min(0).max(1);
const patterns = {
  rank_pattern: z.record(z.string(), count).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
};

/** Kinds that change layers by tensors of their own, with the options that decide what the tensors do. */
const adalora = z.looseObject({
  peft_type: z.literal("ADALORA"),
  ...layerFields,
  init_r: count.default(12),
  target_r: count.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: orDefault(share, 0),
  tinit: orDefault(z.number().int().nonnegative(), 0),
  tfinal: orDefault(z.number().int().nonnegative(), 0),
  deltaT: orDefault(count, 1),
  beta1: orDefault(share, 0.85),
  beta2: orDefault(share, 0.85),
  orth_reg_weight: orDefault(z.number().nonnegative(), 0.5),
  total_step: count.nullish(),
  /** Which of the first ranks are left, by the path of the layer and `.lora_E`. */
  rank_pattern: z.record(z.string(), z.array(z.boolean())).nullish(),
});
const vera = z.looseObject({
  peft_type: z.literal("VERA"),
  ...layerFields,
  r: count.default(256),
  d_initial: orDefault(z.number(), 0.1),
  vera_dropout: orDefault(share, 0),
  projection_prng_key: orDefault(z.number().int(), 0),
  save_projection: orDefault(z.boolean(), true),
});
const lycoris = {
  ...layerFields,
  r: count.default(8),
  alpha: z.number().default(8),
  rank_dropout: orDefault(share, 0),
  module_dropout: orDefault(share, 0),
  use_effective_conv2d: orDefault(z.boolean(), false),
  ...patterns,
};
const loha = z.looseObject({ peft_type: z.literal("LOHA"), ...lycoris });
const lokr = z.looseObject({
  peft_type: z.literal("LOKR"),
  ...lycoris,
  decompose_both: orDefault(z.boolean(), false),
  decompose_factor: orDefault(z.number().int(), -1),
  rank_dropout_scale: orDefault(z.boolean(), false),
});
const oft = z.looseObject({
  peft_type: z.literal("OFT"),
  ...layerFields,
  r: z.number().int().nonnegative().default(0),
  oft_block_size: z.number().int().nonnegative().default(32),
  module_dropout: orDefault(share, 0),
  coft: orDefault(z.boolean(), false),
  eps: orDefault(z.number().positive(), 6e-5),
  block_share: orDefault(z.boolean(), false),
  use_cayley_neumann: orDefault(z.boolean(), true),
  num_cayley_neumann_terms: orDefault(count, 5),
});
const boft = z.looseObject({
  peft_type: z.literal("BOFT"),
  ...layerFields,
  boft_block_size: z.number().int().nonnegative().default(4),
  boft_block_num: z.number().int().nonnegative().default(0),
  boft_n_butterfly_factor: count.default(1),
  boft_dropout: orDefault(share, 0),
});
const lnTuning = z.looseObject({ peft_type: z.literal("LN_TUNING"), ...commonFields, target_modules: names, exclude_modules: names });

export const layerKinds = [adalora, vera, loha, lokr, oft, boft, lnTuning] as const;

const onLayers = { exclude_modules: null, layers_pattern: null, layers_to_transform: null, target_modules: null };
const lycorisDefaults = { ...onLayers, alpha_pattern: {}, init_weights: true, rank_pattern: {} };
const rotationDefaults = { ...onLayers, bias: "none", fan_in_fan_out: false, init_weights: true };

/** What PEFT writes of these kinds besides the options above. */
export const layerKindDefaults: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ADALORA: {
    ...onLayers,
    alora_invocation_tokens: null,
    alpha_pattern: {},
    arrow_config: null,
    bias: "none",
    corda_config: null,
    ensure_weight_tying: false,
    eva_config: null,
    fan_in_fan_out: false,
    init_lora_weights: true,
    kasa_config: null,
    layer_replication: null,
    loftq_config: {},
    lora_bias: false,
    lora_ga_config: null,
    megatron_config: null,
    megatron_core: "megatron.core",
    monteclora_config: null,
    qalora_group_size: 16,
    r: 8,
    rank_pattern: null,
    target_parameters: null,
    total_step: null,
    trainable_token_indices: null,
    use_bdlora: null,
    use_dora: false,
    use_qalora: false,
    use_rslora: false,
    velora_config: null,
  },
  VERA: { bias: "none", fan_in_fan_out: false, init_weights: true, layers_pattern: null, layers_to_transform: null, target_modules: null },
  LOHA: lycorisDefaults,
  LOKR: lycorisDefaults,
  OFT: rotationDefaults,
  BOFT: rotationDefaults,
  LN_TUNING: { exclude_modules: null, target_modules: null },
};

/** Options of every kind that say where an adapter came from and stands; the tensors tell the rest. */
const NEUTRAL = [
  ...Object.keys(commonFields),
  "peft_type",
  "auto_mapping",
  "target_modules",
  "exclude_modules",
  "layers_to_transform",
  "layers_pattern",
  "fan_in_fan_out",
  "init_weights",
  "init_lora_weights",
  "runtime_config",
];

/**
 * Holds an adapter of one of these kinds to the options that whoever reads it understands.
 * @param understood options that are read, or that only say how training went
 * @throws {LfmError} OP_UNSUPPORTED naming every other option that asks for something
 */
export function refuseOtherOptions(
  config: Readonly<Record<string, unknown>> & { readonly peft_type: string },
  understood: readonly string[],
): void {
  const kind = config.peft_type;
  const schema = layerKinds.find((k) => k.shape.peft_type.value === kind);
  const parsed = schema?.safeParse({ peft_type: kind });
  const usual: Readonly<Record<string, unknown>> = { ...layerKindDefaults[kind], ...(parsed?.success ? parsed.data : {}) };
  const asks = ([key, value]: readonly [string, unknown]): boolean =>
    !NEUTRAL.includes(key) && !understood.includes(key) && isActive(value) && value !== usual[key];
  const active = Object.entries(config)
    .filter(asks)
    .map(([key]) => key);
  if (active.length > 0)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] ${kind}: ${active.sort().join(", ")} is not supported`, {
      details: { options: active },
    });
}

/** Null, false and what is empty ask for nothing. */
export function isActive(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}
