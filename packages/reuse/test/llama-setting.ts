import {
  compile,
  type Engine,
  f32,
  type HostTensor,
  i32,
  loadWeight,
  type Model,
  type ParamTree,
  Rng,
  reshape,
  slice,
  sym,
  type Weights,
} from "@lfm/core";
import { initWeights, llama } from "@lfm/models";
import type { TaskProbe } from "@lfm/statistics";

const config = {
  vocab_size: 23,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 32,
};
const planned = llama(config);

/** A small llama with random weights. */
export const base: Model = { ...planned, params: initWeights(planned.info, { seed: 1, embeddingStd: 0.5 }) };

/** The base with noise on every parameter that `which` names. */
export function tuned(seed: number, which: (name: string) => boolean = () => true): Weights {
  return Object.fromEntries(
    Object.entries(base.params).map(([name, w]) => {
      const rng = new Rng(seed).split(name);
      const values = loadWeight(w).data as Float32Array;
      return [name, f32(which(name) ? values.map((v) => v + 0.1 * rng.normal()) : values.slice(), w.shape)];
    }),
  );
}

export const tokens = (step: number): HostTensor =>
  i32(
    Array.from({ length: 15 }, (_, i) => (7 * i + step) % 23),
    [3, 5],
  );

/** Three classes from the last hidden state of the last token. */
export const probe = (name: string, offset: number): TaskProbe => ({
  name,
  batch: { tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] } },
  batches: (step) => ({ tokens: tokens(step + offset) }),
  input: (batch) => ({ tokens: batch.tokens! }),
  scored: ({ last }) => ({ logits: reshape(slice(slice(last!, 1, 4, 1), -1, 0, 3), [-1, 3]) }),
});

/** Logits f32[batch, seq, vocab]. */
export async function answers(engine: Engine, model: Model, rows: HostTensor, mask?: HostTensor): Promise<HostTensor> {
  const inputs = { tokens: rows, ...(mask ? { mask } : {}) };
  const types = Object.fromEntries(Object.entries(inputs).map(([k, t]) => [k, { dtype: t.dtype, shape: t.shape }]));
  const f = await compile(engine, types, (x, params) => ({ y: model.forward(params as ParamTree, x, { mode: "eval" }).logits! }), {
    frozen: model.params,
  });
  const { y } = await f(inputs);
  await f.dispose();
  return y;
}
