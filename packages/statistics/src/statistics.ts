import { type FileTensor, type HostTensor, LfmError, type MethodContext } from "@lfm/core";

interface Measured {
  /** By the name of the parameter. Those of a file are read when they are needed. */
  readonly tensors: Readonly<Record<string, HostTensor | FileTensor>>;
  /** Hash of the weights that they were taken with. */
  readonly model: string;
  /** Examples that were seen. */
  readonly samples: number;
}

/** Second moments E[x·xᵀ] of what flows into linear layers: f32[in, in] by the name of the layer's weight; where it stands at several sites, of all. */
export interface GramStatistics extends Measured {
  readonly kind: "gram";
  /** How the weight lies in the checkpoint. */
  readonly layouts: Readonly<Record<string, "out-in" | "in-out">>;
  /** Vectors x that the mean is taken over: with it, sums of several measurements can be formed. */
  readonly rows: Readonly<Record<string, number>>;
}

/** Mean squared gradients, f32 of the shape of each trainable parameter. */
export interface FisherStatistics extends Measured {
  readonly kind: "fisher";
  readonly estimator: FisherEstimator;
}

/** What a model's data says about its weights. */
export type Statistics = GramStatistics | FisherStatistics;

/**
 * What stands for the diagonal of the Fisher matrix, per parameter:
 * - `expected`: E_x Σ_y p(y|x)·(∂ log p(y|x))², the definition (arXiv 2111.09832, equation 4): one backward pass per example and class;
 * - `empirical`: E_x (∂ log p(label|x))²; where an example has several rows of logits, log p is their weighted sum;
 * - `fusion-bench`: (∂ Σ_x Σ_y √p·log p)² of each batch, summed over batches and divided by the examples. √p is held constant. It depends on
 *   the size of batches, and gradients of the examples and classes of a batch may cancel; it is what fusion_bench 0.2.33 computes.
 */
export type FisherEstimator = "expected" | "empirical" | "fusion-bench";

export interface CollectOptions {
  /** Examples. Default 256, as fusion_bench. */
  readonly samples?: number;
  /** Hash of the weights, where it is known; default: it is taken. */
  readonly model?: string;
  /** Threads of the engine. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly progress?: MethodContext["progress"];
}

/** @throws {LfmError} CONFIG_INVALID */
export function readOptions({ samples = 256, threads, signal, progress = () => {} }: CollectOptions): {
  readonly samples: number;
  readonly run: Pick<MethodContext, "signal" | "progress"> & Pick<CollectOptions, "threads">;
} {
  if (!Number.isInteger(samples) || samples < 1)
    throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] statistics of ${samples} examples: give a whole number above 0`);
  return { samples, run: { progress, ...(signal ? { signal } : {}), ...(threads ? { threads } : {}) } };
}
