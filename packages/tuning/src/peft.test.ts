import { f32, makeDelta, parseConfig } from "@lfm/core";
import { modelFromConfig } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { ia3 } from "./methods/ia3.js";
import { hasPeftForm, toPeft } from "./peft.js";

describe("adapters of mixtures", () => {
  const model = modelFromConfig({
    model_type: "mixtral",
    vocab_size: 8,
    hidden_size: 4,
    intermediate_size: 6,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    num_local_experts: 2,
  });
  const ones = (...shape: [number, number]) => f32(new Float32Array(shape[0] * shape[1]).fill(1), shape);
  const delta = (path: string, shape: [number, number]) =>
    makeDelta(ia3, parseConfig(ia3, {}), { [`model.layers.0.${path}.ia3_l`]: ones(...shape) });

  it("have a form in PEFT where they change attention, and are refused where IA3 scales experts: PEFT would pass those over", async () => {
    expect(hasPeftForm(delta("self_attn.k_proj", [4, 1]), model)).toBe(true);
    const experts = delta("block_sparse_moe.experts.1.w2", [1, 6]);
    expect(hasPeftForm(experts, model)).toBe(false);
    await expect(toPeft("/nowhere", experts, model)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("experts"),
    });
  });
});
