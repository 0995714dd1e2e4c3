import { compile, type Delta, type Engine, f32, type HostTensor, i32, type Model, Rng, withDeltas } from "@lfm/core";
import { bert, convnet, gemma2, gpt2, llama, mistral, mlp, qwen2, qwen3, vit, withClassifier } from "@lfm/models";
import { batchSpecs, type DataBatch } from "@lfm/statistics";
import type { AlignmentInputs } from "../src/alignment/inputs.js";

/** Every value random, norms and running statistics included, so that one that is left behind shows. */
export function randomParams(model: Model, seed: number): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(model.info.params).map(([name, { shape }]) => {
      const rng = new Rng(seed).split(name);
      const n = shape.reduce((a, b) => a * b, 1);
      const std = shape.length > 1 ? 1 / Math.sqrt(n / shape[0]!) : 0.5;
      if (name.endsWith("running_var")) return [name, f32(rng.uniformArray(n, 0.5, 2), shape)];
      // Channels that no image wakes could not be told apart by what they do.
      return [name, f32(rng.normalArray(n, std, name.endsWith("norm.bias") ? 1 : 0), shape)];
    }),
  );
}

const bertConfig = {
  vocab_size: 23,
  hidden_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 20,
  max_position_embeddings: 16,
};
const llamaConfig = { vocab_size: 19, hidden_size: 24, intermediate_size: 28, num_hidden_layers: 2, num_attention_heads: 6 };

/** One small model of each kind that has symmetries of its own. */
export const smallModels: Readonly<Record<string, () => Model>> = {
  mlp: () => mlp({ input_size: 6, hidden_sizes: [9, 7], output_size: 4, activation: "tanh" }),
  convnet: () => convnet({ image_size: 8, widths: [5, 6], classes: 3 }),
  "convnet without a head": () => convnet({ image_size: 8, widths: [5, 6] }),
  gpt2: () => gpt2({ vocab_size: 17, n_positions: 12, n_embd: 12, n_layer: 2, n_head: 3, n_inner: 20 }),
  "gpt2, head of its own": () => gpt2({ vocab_size: 17, n_positions: 12, n_embd: 12, n_layer: 1, n_head: 3, tie_word_embeddings: false }),
  llama: () => llama({ ...llamaConfig }),
  "llama with grouped keys, tied": () => llama({ ...llamaConfig, num_key_value_heads: 2, tie_word_embeddings: true }),
  qwen2: () => qwen2({ ...llamaConfig, num_key_value_heads: 3 }),
  mistral: () => mistral({ ...llamaConfig, num_key_value_heads: 3, sliding_window: 3 }),
  qwen3: () => qwen3({ ...llamaConfig, num_key_value_heads: 3, head_dim: 6 }),
  gemma2: () => gemma2({ ...llamaConfig, num_key_value_heads: 3, head_dim: 6, sliding_window: 3 }),
  "bert encoder": () => bert(bertConfig),
  "bert classifier": () => bert({ ...bertConfig, architectures: ["BertForSequenceClassification"], num_labels: 4 }),
  "bert, head on the mean": () => withClassifier(bert(bertConfig), 4, 1, { pooling: "mean" }),
  "bert, head on the pooler": () => withClassifier(bert(bertConfig), 4, 1),
  vit: () =>
    vit({
      architectures: ["ViTForImageClassification"],
      hidden_size: 12,
      num_hidden_layers: 2,
      num_attention_heads: 3,
      intermediate_size: 16,
      image_size: 8,
      patch_size: 4,
      num_channels: 1,
      num_labels: 3,
    }),
};

export function withParams(model: Model, params: Model["params"]): Model {
  return { ...model, params };
}

/** Something for the model to read. */
export function someInput(model: Model, seed: number, batch = 5): DataBatch {
  const rng = new Rng(seed);
  const { info } = model;
  if (info.input === "features") return { features: f32(rng.normalArray(batch * 6), [batch, 6]) };
  if (info.input === "pixels") return { pixels: f32(rng.normalArray(batch * 64), [batch, 1, 8, 8]) };
  const seq = 7;
  const mask = new Float32Array(batch * seq).map((_, k) => (k % seq < seq - (Math.floor(k / seq) % 3) ? 1 : 0));
  return {
    tokens: i32(
      Array.from({ length: batch * seq }, () => rng.int(info.vocabSize!)),
      [batch, seq],
    ),
    mask: f32(mask, [batch, seq]),
  };
}

/** The answers check of {@link conformMethod} for alignments: what the first model answers before, and with the delta on it. */
export function answersOnFirst(engine: Engine): {
  of(output: { readonly delta?: Delta; readonly model: Model }): Promise<number[]>;
  base(inputs: AlignmentInputs): Promise<number[]>;
} {
  let first: Model;
  return {
    base: ({ models }) => {
      first = Object.values(models)[0]!;
      return answersOf(engine, first, someInput(first, 9));
    },
    of: ({ delta }) => answersOf(engine, withDeltas(first, [delta!]), someInput(first, 9)),
  };
}

/** Logits, or the pooled vector (of an encoder with the last hidden state). */
export async function answersOf(engine: Engine, model: Model, input: DataBatch): Promise<number[]> {
  const run = await compile(
    engine,
    batchSpecs(input),
    (x, params) => {
      const out = model.forward(params as never, x as never, { mode: "eval" });
      if (out.logits) return { answer: out.logits };
      return { answer: out.pooled!, ...(out.last ? { last: out.last } : {}) };
    },
    { frozen: model.params },
  );
  const out = (await run(input as never)) as unknown as Record<string, HostTensor>;
  await run.dispose();
  return Object.values(out).flatMap((t) => Array.from(t.data, Number));
}
