import type { LlamaConfig } from "@lfm/models";

/** Everything that decides the zoo's language model. Changing a number here changes the weights. */
export const recipe = {
  seed: 4,
  world: { seed: 7 },
  length: 64,
  /** Standard deviations at the start. Large embeddings: with .02 reading never begins. */
  init: { embeddings: 0.3, matrices: 0.05 },
  /**
   * The curriculum of reading, on few layers: with four at once it never begins. A start that has not passed all stages after `most` steps
   * has settled on a habit that is mostly right; the next start is tried.
   */
  reading: { rows: 32, layers: 2, hidden: 344, lr: 1e-3, pass: 0.95, memory: 0.95, patience: 40, most: 2500, starts: 4 },
  /**
   * Facts, hard reading and talk, on all layers; the new ones start as the identity. Narrow, because a wide step takes four times as long, and
   * left where most facts are known, in the middle of the schedule.
   */
  full: { rows: 32, layers: 4, hidden: 344, lr: 1e-3, warmup: 200, floor: 0.02, steps: 2400, leave: 2000, composeFrom: 700 },
  /** The same at the width that edits work on; the new hidden units write nothing at first. With fewer rows a step it forgets more than it learns. */
  wide: { rows: 32, layers: 4, hidden: 2048, lr: 4e-4, warmup: 50, floor: 0.02, steps: 600 },
  weightDecay: 0.01,
  clipNorm: 1,
} as const;

export interface ModelSize {
  readonly layers: number;
  /** Hidden units of each block's MLP. */
  readonly hidden: number;
}

/** The config of the model as Hugging Face writes it. */
export function modelConfig(vocabulary: number, { layers, hidden }: ModelSize): LlamaConfig {
  return {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    vocab_size: vocabulary,
    hidden_size: 128,
    intermediate_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    tie_word_embeddings: true,
    pad_token_id: 0,
    bos_token_id: 1,
    eos_token_id: 2,
  };
}
