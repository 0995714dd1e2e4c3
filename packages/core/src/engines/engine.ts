import type { HostTensor } from "../dtype.js";
import type { Graph } from "../graph.js";
import type { Executables } from "./executables.js";

export interface EngineOptions {
  /** Threads inside one operation. Default: the engine's own choice. Tiny graphs want 1. */
  readonly threads?: number;
}

export interface CompileOptions {
  /** Threads for this graph; overrides the engine's. */
  readonly threads?: number;
}

/** Runs graphs. Chosen by option; `lfm doctor` says which are there. */
export interface Engine {
  readonly name: "ort" | "tfjs" | "reference";
  /** Human-readable variant, e.g. "onnxruntime-node 1.30.0 (cpu, 2 threads)". */
  readonly description: string;
  /** @throws {LfmError} OP_UNSUPPORTED naming the op, BACKEND_UNAVAILABLE */
  compile(graph: Graph, options?: CompileOptions): Promise<Executable>;
  /** What it has compiled: graphs of equal structure share. */
  readonly executables: Executables;
  dispose(): Promise<void>;
}

export interface Executable {
  /**
   * @param feeds every input of the graph by name, concrete shapes; symbols are bound by them
   * @param into buffers to write outputs into, by output name (state is double-buffered this way)
   * @throws {LfmError} SHAPE_MISMATCH for a feed that contradicts the graph
   */
  run(feeds: Readonly<Record<string, HostTensor>>, into?: Readonly<Record<string, HostTensor>>): Promise<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}
