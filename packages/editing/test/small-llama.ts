import { type Engine, type MethodContext, type Model, Rng } from "@lfm/core";
import { initWeights, llama } from "@lfm/models";

export const smallConfig = {
  vocab_size: 23,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 32,
} as const;

/** A language model of two blocks and 23 tokens that was never trained. */
export const smallLlama: Model = llama(smallConfig, initWeights(llama(smallConfig).info, { seed: 3, embeddingStd: 0.5 }));

/** With the access that editing methods ask for. */
export function editingContext(engine: Engine): MethodContext {
  return { engine, rng: new Rng(1), access: ["weights", "grad", "activations"], log: () => {}, progress: () => {} };
}
