import { LfmError } from "@lfm/core";
import type { LoraPeftConfig } from "./config.js";
import { isActive } from "./layer-kinds.js";

/**
 * Options of PEFT 0.21's LoraConfig that change what A and B do to the model, or put more beside them. An adapter that uses one is refused by its
 * name, never half understood. Of the others, some are read (r, lora_alpha, their patterns, use_rslora, use_dora, lora_bias, bias,
 * trainable_token_indices, modules_to_save, fan_in_fan_out by way of the model's own layout), and the rest only says where or how training
 * began or went on: target_modules, exclude_modules, layers_to_transform and layers_pattern (the tensors tell), lora_dropout, qalora_group_size,
 * megatron_core, velora_config (another backward pass), eva_config and the configurations of initialisations, runtime_config.
 */
const CHANGING = [
  "alora_invocation_tokens",
  "arrow_config",
  "kasa_config",
  "layer_replication",
  "megatron_config",
  "monteclora_config",
  "target_parameters",
  "use_bdlora",
  "use_qalora",
] as const;

/** Initialisations that also change the base weights, so that the tensors alone do not fit the plain base. */
const CHANGES_BASE = /^(pissa|olora|corda|lora_ga|loftq)/;

/** @throws {LfmError} OP_UNSUPPORTED naming every option that A and B alone do not hold */
export function refuseUnknownLora(config: LoraPeftConfig): void {
  const active = CHANGING.filter((key) => isActive(config[key]));
  if (active.length > 0)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] LoRA: ${active.join(", ")} is not supported`, { details: { options: active } });
  if (typeof config.init_lora_weights === "string" && CHANGES_BASE.test(config.init_lora_weights.toLowerCase()))
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/formats] LoRA: init_lora_weights "${config.init_lora_weights}" also changed the base weights`,
      { hint: "save the adapter with path_initial_model_for_weight_conversion, which turns it into a plain LoRA" },
    );
}
