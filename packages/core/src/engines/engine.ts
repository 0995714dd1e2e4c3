import type { Graph } from "../graph.js";
import type { CompileOptions, Executable } from "./executable.js";
import type { Executables } from "./executables.js";

export interface EngineOptions {
  /** Threads inside one operation. Default: the engine's own choice. Tiny graphs want 1. */
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
