import { type HostTensor, hostTensor, LfmError } from "@lfm/core";
import { createVectorIndex, type VectorIndex } from "../vectors/vector-index.js";

export interface KnnLmOptions {
  /** How the keys are searched; default "Flat". */
  readonly factory?: string;
  /** Neighbours that count, 1024 as in the paper. */
  readonly k?: number;
  /** T of exp(−d²/T), d² the squared distance; default 1. */
  readonly temperature?: number;
  /** λ, the neighbours' share, 0..1; default 0.25. 0 leaves the model as it is, to the bit. */
  readonly lambda?: number;
}

/** A datastore of contexts and the tokens that followed them, mixed into a language model. */
export interface KnnLm {
  /** Contexts kept. */
  readonly size: number;
  /** Bytes of keys and tokens. */
  readonly bytes: number;
  /** @param keys f32[n, d], what the model made of n contexts @param tokens the token that followed each @throws {LfmError} SHAPE_MISMATCH, NUMERIC_DIVERGED */
  add(keys: HostTensor, tokens: ArrayLike<number>): void;
  /** The neighbours' probability of one token for each context. @param keys f32[m, d] */
  neighbours(keys: HostTensor, tokens: ArrayLike<number>): Promise<Float64Array>;
  /**
   * ln(λ·p_kNN + (1 − λ)·p) of every token. @param logProbabilities f32[m, vocabulary] of the model @param keys f32[m, d], what it made of the contexts
   * @returns f32[m, vocabulary] @throws {LfmError} SHAPE_MISMATCH
   */
  mix(logProbabilities: HostTensor, keys: HostTensor): Promise<HostTensor>;
}

/**
 * kNN-LM (arXiv 1911.00172): p = λ·Σ_{neighbours with token y} exp(−d²/T)/Z + (1 − λ)·p_LM. Keys are what the last feed-forward layer reads in the paper;
 * any vector of a context will do. A search with shortcuts (IVF, HNSW) leaves neighbours out.
 * @param dimension of keys @throws {LfmError} CONFIG_INVALID
 */
export function createKnnLm(dimension: number, options: KnnLmOptions = {}): KnnLm {
  const { factory = "Flat", k = 1024, temperature = 1, lambda = 0.25 } = options;
  if (!(lambda >= 0 && lambda <= 1) || !(temperature > 0) || !(k >= 1))
    throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] kNN-LM needs lambda in 0..1, a temperature above 0 and k of 1 or more");
  const index: VectorIndex = createVectorIndex(factory, dimension, { metric: "l2" });
  const values: number[] = [];
  /** Weights of the neighbours' tokens, which add up to 1. */
  const weightsOf = async (keys: HostTensor): Promise<ReadonlyMap<number, number>[]> => {
    const found = await index.search(keys, k);
    return found.map((hits) => {
      const weights = new Map<number, number>();
      // The nearest is at the front: no exponent is above 0, and one is 0.
      const powers = hits.map((hit) => Math.exp((hit.score - hits[0]!.score) / temperature));
      const total = powers.reduce((a, b) => a + b, 0);
      for (const [i, hit] of hits.entries()) {
        const token = values[Number(hit.id)]!;
        weights.set(token, (weights.get(token) ?? 0) + powers[i]! / total);
      }
      return weights;
    });
  };
  return {
    get size() {
      return values.length;
    },
    get bytes() {
      return index.bytes + 4 * values.length;
    },
    add: (keys, tokens) => {
      if (keys.shape[0] !== tokens.length)
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/retrieval] kNN-LM: ${keys.shape[0]} keys and ${tokens.length} tokens`);
      if (!index.trained) index.train(keys);
      index.add(
        Array.from(tokens, (_, i) => String(values.length + i)),
        keys,
      );
      for (const token of Array.from(tokens)) values.push(token);
    },
    neighbours: async (keys, tokens) => Float64Array.from((await weightsOf(keys)).map((weights, i) => weights.get(tokens[i]!) ?? 0)),
    mix: async (logProbabilities, keys) => {
      const [m, vocabulary] = logProbabilities.shape as readonly [number, number];
      if (logProbabilities.shape.length !== 2 || keys.shape[0] !== m)
        throw new LfmError("SHAPE_MISMATCH", `[@lfm/retrieval] kNN-LM: [${logProbabilities.shape.join(", ")}] for ${keys.shape[0]} keys`);
      if (lambda === 0 || values.length === 0) return logProbabilities;
      const out = Float32Array.from(logProbabilities.data as Float32Array, (lp) => lp + Math.log1p(-lambda));
      for (const [row, weights] of (await weightsOf(keys)).entries()) {
        for (const [token, weight] of weights) {
          const at = row * vocabulary + token;
          out[at] = Math.log(lambda * weight + (1 - lambda) * Math.exp(Number(logProbabilities.data[at])));
        }
      }
      return hostTensor("f32", [m, vocabulary], out);
    },
  };
}
