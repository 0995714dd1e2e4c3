import { describe, expect, it } from "vitest";
import { adapterName, parameterName } from "./tensor-names.js";

describe("names in files of PEFT", () => {
  it.each([
    ["q_proj.lora_A.weight", "q_proj.lora_A.weight", undefined],
    ["q_proj.lora_A.default.weight", "q_proj.lora_A.weight", "default"],
    ["q_proj.lora_B.my-adapter.bias", "q_proj.lora_B.bias", "my-adapter"],
    ["wte.lora_embedding_A", "wte.lora_embedding_A", undefined],
    ["wte.lora_embedding_B.default", "wte.lora_embedding_B", "default"],
    ["q_proj.lora_magnitude_vector", "q_proj.lora_magnitude_vector", undefined],
    ["q_proj.lora_magnitude_vector.weight", "q_proj.lora_magnitude_vector", undefined],
    ["q_proj.lora_magnitude_vector.default.weight", "q_proj.lora_magnitude_vector", "default"],
    ["k_proj.ia3_l.default", "k_proj.ia3_l", "default"],
    ["embed.token_adapter.trainable_tokens_delta.default", "embed.token_adapter.trainable_tokens_delta", "default"],
    ["classifier.modules_to_save.default.weight", "classifier.weight", "default"],
    ["classifier.modules_to_save.default.out_proj.weight", "classifier.out_proj.weight", "default"],
    ["classifier.modules_to_save.weight", "classifier.weight", undefined],
    ["bert.encoder.layer.0.output.dense.bias", "bert.encoder.layer.0.output.dense.bias", undefined],
    ["lora_A.layers.0.weight", "lora_A.layers.0.weight", undefined],
  ])("%s is %s", (key, name, adapter) => expect(adapterName(key)).toEqual({ name, ...(adapter === undefined ? {} : { adapter }) }));

  it("know the base's own copy under a module that was trained in full", () =>
    expect(adapterName("classifier.original_module.weight")).toEqual({ name: "classifier.weight", original: true }));

  it("leave the wrappers of a replaced parameter out", () => {
    expect(parameterName("model.embed_tokens.base_layer.weight")).toBe("model.embed_tokens.weight");
    expect(parameterName("model.embed_tokens.token_adapter.base_layer.weight")).toBe("model.embed_tokens.weight");
    expect(parameterName("base_layer_norm.weight")).toBe("base_layer_norm.weight");
  });
});
