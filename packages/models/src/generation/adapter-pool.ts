import type { HostTensor, Model } from "@lfm/core";
import type { ExampleSpecs, ExampleTensors } from "../named-batch.js";

/**
 * Deltas on one base of which every sequence of a batch takes one, or none: which, hooks read from named tensors of the batch. Those that are
 * in use lie in live parameters of one model, so that they come and go without another session.
 */
export interface AdapterPool {
  /** The base with the places of adapters on it. */
  readonly model: Model;
  /** What hooks read of each sequence. */
  readonly batch: ExampleSpecs;
  /** Adapters that may be asked for. */
  readonly names: readonly string[];
  /** What hooks read of one sequence that takes this adapter, or none; the same as long as the pool lives. */
  examples(adapter: string | undefined): ExampleTensors;
  /**
   * Sees to it that these adapters lie in the live parameters.
   * @returns new values of live parameters, where they have changed
   */
  hold(needed: ReadonlySet<string>): Readonly<Record<string, HostTensor>> | undefined;
}
