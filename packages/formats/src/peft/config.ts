import { LfmError, type ModelInfo } from "@lfm/core";
import { z } from "zod";
import { commonFields as common, count, names, orDefault } from "./fields.js";
import { layerKindDefaults, layerKinds } from "./layer-kinds.js";

/** The version of PEFT whose names and defaults are written. */
const PEFT_VERSION = "0.21.2";

/** PEFT's name of a model's task, null for one that it has no name for. */
export function peftTaskType(task: ModelInfo["task"]): PeftConfigInput["task_type"] {
  const types = {
    "causal-lm": "CAUSAL_LM",
    "seq2seq-lm": "SEQ_2_SEQ_LM",
    classifier: "SEQ_CLS",
    encoder: "FEATURE_EXTRACTION",
    regressor: null,
  } as const;
  return types[task];
}

const prompt = {
  num_virtual_tokens: count,
  token_dim: count.nullish(),
  num_transformer_submodules: count.nullish(),
  num_attention_heads: count.nullish(),
  num_layers: count.nullish(),
};
/** Rows of an embedding that learn: of the input embedding, or by the embedding's name. */
const tokenRows = z.union([z.array(z.number().int().nonnegative()), z.record(z.string(), z.array(z.number().int().nonnegative()))]);

const lora = z.looseObject({
  peft_type: z.literal("LORA"),
  ...common,
  r: count.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: orDefault(z.number().min(0).max(1), 0),
  target_modules: names,
  exclude_modules: names,
  fan_in_fan_out: orDefault(z.boolean(), false),
  bias: orDefault(z.enum(["none", "all", "lora_only"]), "none"),
  use_rslora: orDefault(z.boolean(), false),
  use_dora: orDefault(z.boolean(), false),
  lora_bias: orDefault(z.boolean(), false),
  init_lora_weights: orDefault(z.union([z.boolean(), z.string()]), true),
  rank_pattern: z.record(z.string(), count).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  trainable_token_indices: tokenRows.nullish(),
  ensure_weight_tying: orDefault(z.boolean(), false),
});
const ia3 = z.looseObject({
  peft_type: z.literal("IA3"),
  ...common,
  target_modules: names,
  exclude_modules: names,
  feedforward_modules: names,
  fan_in_fan_out: orDefault(z.boolean(), false),
  init_ia3_weights: orDefault(z.boolean(), true),
});
const promptTuning = z.looseObject({
  peft_type: z.literal("PROMPT_TUNING"),
  ...common,
  ...prompt,
  prompt_tuning_init: orDefault(z.enum(["RANDOM", "TEXT", "SAMPLE_VOCAB"]), "RANDOM"),
  prompt_tuning_init_text: z.string().nullish(),
});
const prefixTuning = z.looseObject({
  peft_type: z.literal("PREFIX_TUNING"),
  ...common,
  ...prompt,
  encoder_hidden_size: count.nullish(),
  prefix_projection: orDefault(z.boolean(), false),
});
const pTuning = z.looseObject({ peft_type: z.literal("P_TUNING"), ...common, ...prompt });
/** Rows of embeddings alone, without a LoRA. */
const trainableTokens = z.looseObject({
  peft_type: z.literal("TRAINABLE_TOKENS"),
  ...common,
  token_indices: z.array(z.number().int().nonnegative()),
  target_modules: names,
});
/** Kinds whose files are carried through: their options are not interpreted here. */
const others = z.looseObject({
  peft_type: z.enum(["ADAMSS", "ADAPTION_PROMPT", "BEFT", "FOURIERFT", "HRA"]),
  ...common,
});
const schema = z.discriminatedUnion("peft_type", [lora, ia3, promptTuning, prefixTuning, pTuning, trainableTokens, ...layerKinds, others]);

/** An adapter_config.json under PEFT's own keys; keys that are not listed here are kept as they are. */
export type PeftConfig = z.output<typeof schema>;
export type PeftConfigInput = z.input<typeof schema>;
export type LoraPeftConfig = z.output<typeof lora>;
export type TrainableTokensPeftConfig = z.output<typeof trainableTokens>;

/** Prompt methods wrap the model directly: what they save has a shorter prefix. */
export function isPromptLearning(config: PeftConfig): boolean {
  return config.peft_type === "PROMPT_TUNING" || config.peft_type === "PREFIX_TUNING" || config.peft_type === "P_TUNING";
}

/**
 * Checks a config and fills in the defaults of its options.
 * @throws {LfmError} FILE_FORMAT naming the file and the key; OP_UNSUPPORTED for a kind of adapter that is not known here
 */
export function parsePeftConfig(path: string, raw: Readonly<Record<string, unknown>>): PeftConfig {
  const kind = raw.peft_type;
  if (kind === undefined)
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} has no peft_type: it is no adapter of PEFT`, {
      ...("architecture" in raw || "config_id" in raw
        ? { hint: "this is a file of the library `adapters`, which uses the same name" }
        : {}),
    });
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const known: readonly string[] = [...Object.keys(defaults), ...others.shape.peft_type.options];
  // Only a text names one: lists may nest deeper than they can be written down.
  if (typeof kind === "string" && !known.includes(kind))
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] ${path}: adapters of type ${kind} are not read`, {
      hint: `these are: ${known.join(", ")}`,
    });
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${z.prettifyError(parsed.error)}`);
}

/** What PEFT writes for every adapter of a kind besides the options that were given. */
export function storedPeftConfig(config: Readonly<Record<string, unknown>> & Pick<PeftConfig, "peft_type">): Record<string, unknown> {
  const all: Record<string, unknown> = { ...shared, ...defaults[config.peft_type], ...config, peft_version: PEFT_VERSION };
  return Object.fromEntries(
    Object.keys(all)
      .sort()
      .map((key) => [key, all[key]]),
  );
}

const shared = {
  auto_mapping: null,
  base_model_name_or_path: null,
  inference_mode: true,
  modules_to_save: null,
  revision: null,
  task_type: null,
};
const promptShared = { num_attention_heads: null, num_layers: null, num_transformer_submodules: null, token_dim: null };
const defaults: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...layerKindDefaults,
  LORA: {
    alora_invocation_tokens: null,
    alpha_pattern: {},
    arrow_config: null,
    corda_config: null,
    ensure_weight_tying: false,
    eva_config: null,
    exclude_modules: null,
    kasa_config: null,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_ga_config: null,
    megatron_config: null,
    megatron_core: "megatron.core",
    monteclora_config: null,
    qalora_group_size: 16,
    rank_pattern: {},
    target_modules: null,
    target_parameters: null,
    trainable_token_indices: null,
    use_bdlora: null,
    use_qalora: false,
    velora_config: null,
  },
  IA3: { exclude_modules: null, feedforward_modules: null, target_modules: null },
  PROMPT_TUNING: { ...promptShared, prompt_tuning_init_text: null, tokenizer_kwargs: null, tokenizer_name_or_path: null },
  PREFIX_TUNING: { ...promptShared, encoder_hidden_size: null, init_weights: null },
  TRAINABLE_TOKENS: { init_weights: true, target_modules: null },
  P_TUNING: {
    ...promptShared,
    encoder_dropout: 0,
    encoder_hidden_size: null,
    encoder_num_layers: 2,
    encoder_reparameterization_type: "MLP",
  },
};
