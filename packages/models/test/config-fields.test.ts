import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { modelFromConfig } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { bertConfigSchema } from "../src/architectures/bert.js";
import { dinov2ConfigSchema } from "../src/architectures/dinov2.js";
import { distilbertConfigSchema } from "../src/architectures/distilbert.js";
import { gemmaConfigSchema } from "../src/architectures/gemma.js";
import { gemma2ConfigSchema } from "../src/architectures/gemma2.js";
import { gemma3ConfigSchema } from "../src/architectures/gemma3.js";
import { gptNeoxConfigSchema } from "../src/architectures/gpt-neox.js";
import { gpt2ConfigSchema } from "../src/architectures/gpt2.js";
import { llamaConfigSchema } from "../src/architectures/llama.js";
import { mistralConfigSchema } from "../src/architectures/mistral.js";
import { mixtralConfigSchema } from "../src/architectures/mixtral.js";
import { phi3ConfigSchema } from "../src/architectures/phi3.js";
import { qwen2ConfigSchema } from "../src/architectures/qwen2.js";
import { qwen3ConfigSchema } from "../src/architectures/qwen3.js";
import { resnetConfigSchema } from "../src/architectures/resnet.js";
import { robertaConfigSchema } from "../src/architectures/roberta.js";
import { t5ConfigSchema } from "../src/architectures/t5.js";
import { vitConfigSchema } from "../src/architectures/vit.js";
import { goldenFolder } from "./golden-fixture.js";

const { fields } = JSON.parse(readFileSync(join(goldenFolder("config-fields"), "golden.json"), "utf8")) as {
  fields: Record<string, Record<string, unknown>>;
};

const schemas = {
  gpt2: gpt2ConfigSchema,
  llama: llamaConfigSchema,
  qwen2: qwen2ConfigSchema,
  mixtral: mixtralConfigSchema,
  mistral: mistralConfigSchema,
  qwen3: qwen3ConfigSchema,
  phi3: phi3ConfigSchema,
  gpt_neox: gptNeoxConfigSchema,
  gemma: gemmaConfigSchema,
  gemma2: gemma2ConfigSchema,
  gemma3_text: gemma3ConfigSchema,
  bert: bertConfigSchema,
  t5: t5ConfigSchema,
  vit: vitConfigSchema,
  roberta: robertaConfigSchema,
  distilbert: distilbertConfigSchema,
  dinov2: dinov2ConfigSchema,
  resnet: resnetConfigSchema,
};

/** What a config must say here: transformers' defaults for these are of one large model. */
const sizes: Record<string, unknown> = {
  vocab_size: 11,
  hidden_size: 16,
  intermediate_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  d_model: 8,
  d_kv: 4,
  d_ff: 8,
  num_layers: 1,
  num_heads: 2,
};

/** Defaults that transformers computes later, of other fields. */
const computed = new Set(["id2label", "label2id", "layer_types", "rope_parameters", "sliding_window:qwen2", "sliding_window:qwen3"]);

describe.each(Object.entries(schemas))("the config of %s", (type, schema) => {
  const known = fields[type]!;
  const small = Object.fromEntries(Object.entries(sizes).filter(([name]) => name in known));

  it("names every field of transformers' class: none is passed over", () => {
    expect(Object.keys(known).filter((name) => !(name in schema.shape))).toEqual([]);
  });

  it("has transformers' defaults", () => {
    const parsed: Record<string, unknown> = schema.parse(small);
    for (const [name, value] of Object.entries(known)) {
      if (name in small || computed.has(name) || computed.has(`${name}:${type}`) || parsed[name] === undefined) continue;
      expect([name, parsed[name]]).toEqual([name, value]);
    }
  });

  it("passes fields that transformers does not know either", () => {
    const config = { model_type: type, ...small, unsloth_version: "2025", transformers_version: "4.40", use_cache: false };
    expect(modelFromConfig(config).info.config.unsloth_version).toBe("2025");
  });
});

/** What would change the result and is not computed, by the field that must stand in the message. */
const refused: readonly (readonly [string, Record<string, unknown>, string])[] = [
  ["gpt2", { add_cross_attention: true }, "add_cross_attention"],
  ["gpt2", { activation_function: "mish" }, "activation_function"],
  ["llama", { quantization_config: { bits: 4 } }, "quantization_config"],
  ["llama", { per_layer_config: { 0: { head_dim: 2 } } }, "per_layer_config"],
  ["llama", { partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
  ["llama", { hidden_act: "xielu" }, "hidden_act"],
  ["llama", { rope_scaling: { rope_type: "mrope" } }, '"mrope"'],
  ["llama", { rope_scaling: { rope_type: "llama3", factor: 8 } }, '"low_freq_factor"'],
  ["llama", { rope_scaling: { type: "linear" } }, '"factor"'],
  ["phi3", { rope_scaling: { type: "longrope", short_factor: [1], long_factor: [1] } }, '"short_factor"'],
  ["mixtral", { router_jitter_noise: 0.1 }, "router_jitter_noise"],
  ["qwen2", { layer_types: ["sliding_attention", "full_attention"] }, "sliding_window"],
  ["qwen3", { layer_types: ["full_attention"] }, "layer_types"],
  ["qwen3", { layer_types: ["linear_attention", "full_attention"] }, "layer_types"],
  ["gemma2", { use_bidirectional_attention: true }, "use_bidirectional_attention"],
  ["gemma3_text", { attn_logit_softcapping: 50 }, "attn_logit_softcapping"],
  ["bert", { position_embedding_type: "relative_key" }, "position_embedding_type"],
  ["bert", { is_decoder: true }, "is_decoder"],
  ["bert", { add_cross_attention: true }, "add_cross_attention"],
  ["t5", { feed_forward_proj: "gated-mish" }, "feed_forward_proj"],
  ["vit", { pooler_act: "mish" }, "pooler_act"],
  ["roberta", { position_embedding_type: "relative_key" }, "position_embedding_type"],
  ["roberta", { is_decoder: true }, "is_decoder"],
  ["distilbert", { activation: "mish" }, "activation"],
  ["dinov2", { drop_path_rate: 0.1 }, "drop_path_rate"],
  ["resnet", { layer_type: "wide" }, "layer_type"],
  ["resnet", { depths: [1, 2] }, "depths"],
];

it.each(refused)("%s refuses %j by name", (type, given, name) => {
  const config = { model_type: type, ...Object.fromEntries(Object.entries(sizes).filter(([n]) => n in fields[type]!)), ...given };
  try {
    modelFromConfig(config);
    expect.unreachable();
  } catch (error) {
    expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
    expect((error as Error).message).toContain(name);
    expect((error as Error).message).toContain(type);
  }
});
