import { f32, type HostTensor, LfmError, loadWeight, type Model, widenToF32 } from "@lfm/core";
import type { Vocabulary } from "@lfm/data";
import type { TextEncoder } from "@lfm/retrieval";

/**
 * Texts as the mean of the language model's own input embeddings, the mean embedding of the vocabulary taken off first
 * (what all words share says nothing about a text). Nothing is trained.
 * @throws {LfmError} PARAM_NOT_FOUND for a model without a table of embeddings
 */
export function wordVectors(model: Model, vocabulary: Vocabulary): TextEncoder {
  const name = "model.embed_tokens.weight";
  const weight = model.params[name];
  if (!weight) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/bench] the model has no "${name}"`, { details: { name } });
  const table: HostTensor = widenToF32(loadWeight(weight));
  const values = table.data as Float32Array;
  const [n, d] = table.shape as [number, number];
  const mean = new Float32Array(d);
  for (let w = 0; w < n; w++) for (let i = 0; i < d; i++) mean[i]! += values[w * d + i]! / n;
  return {
    encode: async (texts) => {
      const out = new Float32Array(texts.length * d);
      for (const [t, text] of texts.entries()) {
        const ids = vocabulary.encode(text);
        for (const id of ids) for (let i = 0; i < d; i++) out[t * d + i]! += (values[id * d + i]! - mean[i]!) / ids.length;
      }
      return f32(out, [texts.length, d]);
    },
  };
}
