import { f32, type HostTensor, i32, type MethodContext, type Model, ortEngine, Rng, selectRows } from "@lfm/core";
import { bert, convnet, initWeights, llama } from "@lfm/models";
import { arrayClassificationTask, type Batch, type LearningTask, languageModelTask, tokenClassificationTask } from "@lfm/train";

const engine = ortEngine({ threads: 1 });

/** A context of its own for each run, always the same, on one engine. */
export async function testContext(): Promise<MethodContext> {
  return {
    engine: await engine,
    rng: new Rng(1),
    access: ["weights", "grad", "logits", "labels", "activations", "tokenizer"],
    log: () => {},
    progress: () => {},
  };
}

/** A classifier of token rows. */
export function smallBert(
  seed: number,
  sizes: { readonly layers?: number; readonly hidden?: number; readonly heads?: number } = {},
): Model {
  const { layers = 2, hidden = 8, heads = 2 } = sizes;
  const config = {
    architectures: ["BertForSequenceClassification"],
    num_labels: 3,
    vocab_size: 12,
    hidden_size: hidden,
    intermediate_size: 12,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    max_position_embeddings: 16,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  };
  const fresh = initWeights(bert(config).info, { seed, embeddingStd: 0.7 });
  // Norms that scale by one would make the states of all positions equally long.
  const rng = new Rng(seed).split("norms");
  const spread = (name: string, t: HostTensor): HostTensor =>
    name.endsWith("LayerNorm.weight") ? f32(rng.split(name).normalArray(t.data.length), t.shape) : t;
  return bert(config, Object.fromEntries(Object.entries(fresh).map(([name, t]) => [name, spread(name, t)])));
}

/** A language model of eleven tokens, 2 of which ends a text. */
export function smallLlama(seed: number, hidden = 8): Model {
  const config = {
    vocab_size: 11,
    hidden_size: hidden,
    intermediate_size: 12,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    eos_token_id: 2,
    max_position_embeddings: 64,
  };
  return llama(config, initWeights(llama(config).info, { seed, embeddingStd: 0.7 }));
}

/** A classifier of images of 8×8 with batch norm. */
export function smallConvnet(seed: number, widths: readonly number[] = [3, 4]): Model {
  const config = { image_size: 8, widths: [...widths], classes: 3 };
  return convnet(config, initWeights(convnet(config).info, { seed }));
}

export const imageTask: LearningTask = arrayClassificationTask("noise", "pixels", [1, 8, 8], (step) => {
  const rng = new Rng(step);
  return { x: f32(rng.normalArray(6 * 64), [6, 1, 8, 8]), labels: i32(Array.from({ length: 6 }, () => rng.int(3))) };
});

/** The same with its first batch again and again: its loss can only fall. */
export function oneBatch(task: LearningTask): LearningTask {
  return { ...task, batches: () => task.batches(0) };
}

/** Rows of three to six tokens with classes. @param padding columns behind the longest row; @param take which of the four rows */
export function rowTask(
  padding = 0,
  take?: (number: number) => { readonly batch: number; readonly rows: readonly number[] },
): LearningTask {
  const length = 6 + padding;
  const whole = (step: number): Batch => {
    const rng = new Rng(step).split("rows");
    const lengths = [6, 3, 5, 4];
    const tokens = lengths.flatMap((n) => Array.from({ length }, (_, i) => (i < Math.min(n, 6) ? 1 + rng.split(`${n} ${i}`).int(11) : 0)));
    const mask = lengths.flatMap((n) => Array.from({ length }, (_, i) => (i < n ? 1 : 0)));
    return { tokens: i32(tokens, [4, length]), mask: f32(mask, [4, length]), labels: i32(lengths.map((_, i) => rng.split(i).int(3))) };
  };
  return tokenClassificationTask("rows", (number) => {
    if (!take) return whole(number);
    const { batch, rows } = take(number);
    return Object.fromEntries(Object.entries(whole(batch)).map(([name, t]) => [name, selectRows(t, rows)]));
  });
}

/** Prompts of three tokens with answers of three and of two. */
export function promptTask(padding = 0): LearningTask {
  const length = 6 + padding;
  const filled = (values: readonly number[]): number[] => Array.from({ length }, (_, i) => values[i] ?? 0);
  return languageModelTask("prompts", (step) => {
    const rng = new Rng(step).split("prompts");
    const row = (r: number, n: number): number[] => Array.from({ length: n }, (_, i) => 3 + rng.split(`${r} ${i}`).int(8));
    return {
      tokens: i32([...filled(row(0, 6)), ...filled(row(1, 5))], [2, length]),
      weights: f32([...filled([0, 0, 0, 1, 1, 1]), ...filled([0, 0, 0, 1, 1])], [2, length]),
    };
  });
}

/** The largest difference of two sets of tensors. */
export function distance(a: Readonly<Record<string, HostTensor>>, b: Readonly<Record<string, HostTensor>>): number {
  const values = (t: HostTensor): number[] => Array.from(t.data, Number);
  return Math.max(
    ...Object.entries(a).flatMap(([name, t]) => {
      const other = values(b[name]!);
      return values(t).map((v, i) => Math.abs(v - other[i]!));
    }),
  );
}
