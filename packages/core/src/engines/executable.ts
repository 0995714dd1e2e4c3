import type { HostTensor } from "../dtype.js";

export interface CompileOptions {
  /** Threads for this graph; overrides the engine's. */
  readonly threads?: number;
}

/** A graph that is ready to run. */
export interface Executable {
  /**
   * @param feeds every input of the graph by name, concrete shapes; symbols are bound by them
   * @param into buffers to write outputs into, by output name (state is double-buffered this way)
   * @throws {LfmError} SHAPE_MISMATCH for a feed that contradicts the graph
   */
  run(feeds: Readonly<Record<string, HostTensor>>, into?: Readonly<Record<string, HostTensor>>): Promise<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}
