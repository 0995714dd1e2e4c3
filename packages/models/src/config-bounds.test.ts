import { isLfmError } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { modelFromConfig } from "./from-config.js";
import { initWeights } from "./init.js";

const decoder = { vocab_size: 100, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2 };
/** A whole config of every kind of architecture. */
const configs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  gpt2: { n_embd: 8, n_head: 2, n_layer: 1, vocab_size: 100 },
  ...Object.fromEntries(["llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3"].map((type) => [type, decoder])),
  mixtral: { ...decoder, num_local_experts: 2, num_key_value_heads: 2 },
  qwen3: { ...decoder, num_key_value_heads: 2, head_dim: 4 },
  phi3: { ...decoder, pad_token_id: 0 },
  gemma2: { ...decoder, num_key_value_heads: 2, head_dim: 4 },
  gemma3_text: { ...decoder, num_key_value_heads: 2, head_dim: 4 },
  gpt_neox: { ...decoder, rotary_pct: 1 },
  bert: decoder,
  t5: { vocab_size: 100, d_model: 8, d_kv: 4, d_ff: 16, num_layers: 1, num_heads: 2 },
  vit: { ...decoder, image_size: 8, patch_size: 4 },
  convnet: { image_size: 8, widths: [4], channels: 1 },
  mlp: { input_size: 4, hidden_sizes: [4], output_size: 2 },
};
const values = [4096, 2 ** 16, 2 ** 24, 1e15, 1e9, 2 ** 31 - 1, 2 ** 53, 1e308, Number.POSITIVE_INFINITY];

describe("configs of models that cannot be", () => {
  it.each(Object.keys(configs))(
    "%s: whatever number is too large, it is a model of that shape or an error that says so, in no time",
    (type) => {
      const config: Readonly<Record<string, unknown>> = { model_type: type, ...configs[type] };
      modelFromConfig(config);
      const keys = new Set([...Object.keys(modelFromConfig(config).info.config), ...Object.keys(config)]);
      for (const key of keys) {
        const was = config[key] ?? modelFromConfig(config).info.config[key];
        if (typeof was !== "number" && !Array.isArray(was)) continue;
        for (const value of values) {
          const began = process.cpuUsage();
          let refused: unknown;
          try {
            modelFromConfig({ ...config, [key]: Array.isArray(was) ? [value, ...(was as unknown[])] : value });
          } catch (error) {
            refused = error;
            expect(isLfmError(error), `${key} ${value}: ${String(error)}`).toBe(true);
          }
          const { user, system } = process.cpuUsage(began);
          expect((user + system) / 1e6, `${key} ${value} ${String(refused)}`).toBeLessThan(2);
        }
      }
    },
  );

  it("are not begun where no memory holds them", () => {
    for (const large of [
      { intermediate_size: 2 ** 24, hidden_size: 2 ** 12 },
      { vocab_size: 1e9 },
      { hidden_size: 2 ** 20, intermediate_size: 2 ** 18, num_attention_heads: 64, num_key_value_heads: 64 },
    ]) {
      const { info } = modelFromConfig({ model_type: "llama", ...decoder, ...large });
      let error: unknown;
      try {
        initWeights(info, { seed: 0 });
      } catch (e) {
        error = e;
      }
      expect(isLfmError(error, "BUDGET_EXCEEDED") && error.message).toContain("are not made");
    }
  });

  it("names what is too large", () => {
    const error = (config: object): unknown => {
      try {
        return modelFromConfig({ model_type: "mixtral", ...configs.mixtral, ...config });
      } catch (e) {
        return e;
      }
    };
    for (const [config, message] of [
      [{ num_hidden_layers: 1e15 }, "num_hidden_layers: 1000000000000000 of 4096 at most"],
      [{ num_local_experts: 5000 }, "num_local_experts: 5000 of 4096 at most"],
      [{ num_local_experts: 4096, num_hidden_layers: 4096 }, "4096 experts in each of 4096 layers"],
      [{ hidden_size: 1e10 }, "hidden_size: 10000000000 of 16777216 at most"],
      [{ max_position_embeddings: 1e10 }, "max_position_embeddings: 10000000000 of 2147483647 at most"],
    ] as const) {
      const refused = error(config);
      expect(isLfmError(refused, "CONFIG_INVALID") && refused.message).toContain(message);
    }
  });
});
