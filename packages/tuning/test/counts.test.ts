import { type FileTensor, f32, type HostTensor, i32, type Model, parseConfig, Rng, referenceEngine } from "@lfm/core";
import { gpt2, llama } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { type AnyTuningMethod, adalora, ia3, lnTuning, lora, oft, vera } from "../src/index.js";

/** A weight of zeros that takes its memory only when it is read: magnitudes are norms of weights. */
function zero(shape: readonly number[]): FileTensor {
  const size = shape.reduce((n, d) => n * d, 1);
  const read = (): HostTensor => ({ dtype: "f32", shape, data: new Float32Array(size) });
  return { dtype: "f32", shape, file: { path: "", offset: 0, bytes: 4 * size }, read };
}

const ofZeros = (model: Model): Model => ({
  ...model,
  params: Object.fromEntries(Object.entries(model.info.params).map(([name, { shape }]) => [name, zero(shape)])),
});
const small = ofZeros(gpt2({ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 }));
const llama3b = ofZeros(
  llama({
    vocab_size: 128256,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 28,
    num_attention_heads: 24,
    num_key_value_heads: 8,
    head_dim: 128,
    tie_word_embeddings: true,
  }),
);

function count(method: AnyTuningMethod, model: Model, options: object): number {
  const task = languageModelTask("none", () => ({ tokens: i32([0], [1, 1]), weights: f32([1], [1, 1]) }));
  const context = { engine: referenceEngine(), rng: new Rng(1), access: [], log: () => {}, progress: () => {} };
  const { learned } = method.start!({ model, task }, parseConfig(method, options), context);
  return Object.values(learned).reduce((n, t) => n + t.data.length, 0);
}

describe("how much learns, without any training", () => {
  // What get_nb_trainable_parameters of PEFT says.
  it.each<[string, AnyTuningMethod, object, number]>([
    ["LoRA r 8", lora, { targetModules: ["c_attn"] }, 294_912],
    ["DoRA r 8", lora, { targetModules: ["c_attn"], useDora: true }, 322_560],
    ["AdaLoRA init_r 12", adalora, { targetModules: ["c_attn"] }, 442_512],
    ["IA3", ia3, { targetModules: ["c_attn"], feedforwardModules: ["mlp.c_proj"] }, 64_512],
    ["VeRA r 256", vera, { targetModules: ["c_attn"] }, 30_720],
    ["OFT of blocks of 32", oft, { targetModules: ["c_attn"] }, 142_848],
  ])("GPT-2 small, %s", (_name, method, options, expected) => {
    expect(count(method, small, options)).toBe(expected);
  });

  // Runs of Llama-3.2-3B whose counts PEFT's method comparison has on file.
  it.each<[string, AnyTuningMethod, object, number]>([
    ["LoRA r 32", lora, { targetModules: ["q", "v"], r: 32 }, 9_175_040],
    ["LoRA r 64", lora, { targetModules: ["q", "v"], r: 64, useRslora: true }, 18_350_080],
    ["IA3", ia3, { targetModules: ["k", "v"], feedforwardModules: ["out"] }, 286_720],
    ["VeRA r 256", vera, { targetModules: ["q", "v"] }, 129_024],
    ["OFT r 32", oft, { targetModules: ["q", "v"], r: 32, oftBlockSize: 0 }, 8_171_520],
    ["LN tuning", lnTuning, {}, 175_104],
  ])("Llama-3.2-3B, %s", (_name, method, options, expected) => {
    expect(count(method, llama3b, options)).toBe(expected);
  });
});
