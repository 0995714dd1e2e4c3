import { f32, type HostTensor, LfmError, loadWeight, type Model, widenToF32 } from "@lfm/core";
import { fullStage, type World, zooBatch } from "@lfm/data";
import type { TextEncoder } from "@lfm/retrieval";

/** Weight of a word as rare as this share of the text is one half; the value of the paper. */
const HALF = 1e-3;
/** Batches of the model's training text that words are counted in. */
const COUNTED = 32;

/**
 * Texts as weighted means of the language model's own input embeddings, rare words counting more: weight a / (a + p(word)), a = 10⁻³
 * (Arora, Liang, Ma, A simple but tough-to-beat baseline for sentence embeddings, ICLR 2017, without the common component);
 * p is the word's share in the text the model was trained on. Nothing is trained.
 * @throws {LfmError} PARAM_NOT_FOUND for a model without a table of embeddings
 */
export function wordVectors(model: Model, world: World): TextEncoder {
  const name = "model.embed_tokens.weight";
  const weight = model.params[name];
  if (!weight) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/bench] the model has no "${name}"`, { details: { name } });
  const table: HostTensor = widenToF32(loadWeight(weight));
  const values = table.data as Float32Array;
  const d = table.shape[1]!;
  const { vocabulary } = world;
  const weights = shares(world).map((p) => HALF / (HALF + p));
  return {
    encode: async (texts) => {
      const out = new Float32Array(texts.length * d);
      for (const [t, text] of texts.entries()) {
        const ids = vocabulary.encode(text);
        for (const id of ids) for (let i = 0; i < d; i++) out[t * d + i]! += (weights[id]! * values[id * d + i]!) / ids.length;
      }
      return f32(out, [texts.length, d]);
    },
  };
}

/** Share of each word in a sample of the training text, padding left out. */
function shares(world: World): Float64Array {
  const counts = new Float64Array(world.vocabulary.size);
  let total = 0;
  for (let step = 0; step < COUNTED; step++) {
    for (const id of zooBatch(world, { seed: world.seed, step, stage: fullStage(world) }).tokens) {
      if (id === world.vocabulary.pad) continue;
      counts[id]!++;
      total++;
    }
  }
  return counts.map((n) => n / total);
}
