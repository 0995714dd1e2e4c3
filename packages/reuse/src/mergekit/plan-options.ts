import type { AnyMethod } from "@lfm/core";
import type { ModelFiles, MultiplyOut, ResolveModel } from "./model-files.js";

/** What a configuration of mergekit leaves to its caller. */
export interface PlanMergeOptions {
  /** Where paths of models begin; default: the working directory. */
  readonly folder?: string;
  /** Methods that a configuration can name, e.g. `reuseMethods`. */
  readonly methods: readonly AnyMethod[];
  /** Finds folders of models and adapters that are no paths: names of the hub, stages of the same file. */
  readonly resolve?: ResolveModel;
  /** Makes plain weights of models with deltas other than LoRA (`model+delta`); without it these are refused. */
  readonly multiplyOut?: MultiplyOut;
  /** Seed of methods that draw; default 0. */
  readonly seed?: number;
  /** TIES and DARE as in mergekit or as in their papers; wins over the file. */
  readonly mode?: "mergekit" | "paper";
  /** Type of the result, e.g. `bfloat16`; wins over the file. */
  readonly outDtype?: string;
  /** Without `tokenizer`: cut embeddings to the rows that all models have, and take it that token ids mean the same. Default: that is refused. */
  readonly unsafeTruncateEmbeddings?: boolean;
  /**
   * Hash of a model's weights, as `(await loadModel(files.folder)).hash()` of @lfm/models takes it: statistics of other weights are refused.
   * undefined, or without this option: names and shapes are compared, and a note says so.
   */
  readonly hashOf?: (files: ModelFiles) => Promise<string | undefined>;
}
