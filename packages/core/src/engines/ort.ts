import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import type { DType, HostTensor, TypedArray } from "../dtype.js";
import { LfmError } from "../errors.js";
import { feedBinder } from "../feeds.js";
import type { Graph } from "../graph.js";
import { buildOnnx } from "../onnx/builder.js";
import { externalWeights } from "../onnx/external-weights.js";
import { blockRows } from "../onnx/row-blocks.js";
import type { Engine, EngineOptions } from "./engine.js";
import type { CompileOptions, Executable } from "./executable.js";
import { Executables } from "./executables.js";
import { RestingSessions } from "./resting-sessions.js";
import { checkThreads } from "./thread-count.js";

export interface OrtOptions extends EngineOptions {
  /** Execution providers in order of preference, as onnxruntime-node names them. Default ["cpu"]. */
  readonly providers?: readonly ("cpu" | "cuda" | "webgpu" | "coreml" | "dml")[];
  /**
   * Pack frozen weights for speed (default) or leave them mapped from their file:
   * packing copies f32 weights into memory once per session; without it they cost no memory and products run 20–45 % slower.
   */
  readonly prepack?: boolean;
  /** Write a per-operator profile (JSON) with this path prefix. */
  readonly profile?: string;
}

type Ort = typeof import("onnxruntime-node");

const toOrt: Readonly<Partial<Record<DType, OrtTensor.Type>>> = {
  f32: "float32",
  i32: "int32",
  bool: "bool",
  i8: "int8",
  u8: "uint8",
  i64: "int64",
  bf16: "uint16",
  f16: "float16",
};
const fromOrt: Readonly<Record<string, DType>> = {
  float32: "f32",
  int32: "i32",
  bool: "bool",
  int8: "i8",
  uint8: "u8",
  int64: "i64",
  float16: "f16",
};

/**
 * Compiles every graph to one ONNX model and runs it in ONNX Runtime.
 * @throws {LfmError} BACKEND_UNAVAILABLE with the install line when onnxruntime-node is missing; CONFIG_INVALID for too many threads
 */
export async function ortEngine(options: OrtOptions = {}): Promise<Engine> {
  checkThreads(options.threads);
  const ort = await loadOrt();
  const providers = options.providers ?? ["cpu"];
  const executables = new Executables();
  const resting = new RestingSessions();
  return {
    name: "ort",
    description: `onnxruntime-node ${ort.env.versions.node ?? ort.env.versions.common} (${providers.join(", ")}${options.threads ? `, ${options.threads} threads` : ""})`,
    compile: async (graph, compileOptions) =>
      executables.add(await compileOrt(ort, graph, { ...options, providers }, compileOptions ?? {}, resting)),
    executables,
    dispose: async () => {
      await executables.dispose();
      await resting.dispose();
    },
  };
}

/** @throws {LfmError} BACKEND_UNAVAILABLE */
export async function loadOrt(): Promise<Ort> {
  try {
    const module = (await import("onnxruntime-node")) as Ort & { readonly default?: Ort };
    return module.InferenceSession ? module : module.default!;
  } catch (cause) {
    throw new LfmError("BACKEND_UNAVAILABLE", "[@lfm/core] the engine ort needs the package onnxruntime-node", {
      hint: "npm i --ignore-scripts onnxruntime-node",
      cause,
    });
  }
}

async function compileOrt(
  ort: Ort,
  graph: Graph,
  options: OrtOptions,
  compileOptions: CompileOptions,
  resting: RestingSessions,
): Promise<Executable> {
  const external = externalWeights(graph.frozen.map((f) => f.weight));
  const model = buildOnnx(options.providers![0] === "cpu" ? blockRows(graph) : graph, external.locate);
  const threads = checkThreads(compileOptions.threads ?? options.threads);
  const sessionOptions: InferenceSession.SessionOptions = {
    executionProviders: [...options.providers!],
    graphOptimizationLevel: "all",
    executionMode: "sequential",
    // A pattern would be one more block as large as all values together, beside the arena that the first run has filled.
    enableMemPattern: false,
    logSeverityLevel: 3,
    ...(threads ? { intraOpNumThreads: threads } : {}),
    ...(options.profile ? { enableProfiling: true, profileFilePrefix: options.profile } : {}),
    extra: {
      session: {
        ...(external.folder ? { model_external_initializers_file_folder_path: external.folder } : {}),
        ...(options.prepack === false ? { disable_prepacking: "1" } : {}),
      },
    },
  };
  // Files may change, and a profile is of one run.
  const key = external.folder || options.profile ? undefined : resting.keyOf(model.bytes, sessionOptions);
  const session = resting.take(key) ?? (await createSession(ort, model.bytes, sessionOptions));
  return new OrtExecutable(ort, graph, session, async (fed) => {
    if (options.profile) session.endProfiling();
    await resting.release(session, key, fed);
  });
}

async function createSession(ort: Ort, bytes: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  try {
    return await ort.InferenceSession.create(bytes, options);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const code = /not.?implemented|no op registered|NOT_IMPLEMENTED/i.test(message) ? "OP_UNSUPPORTED" : "BACKEND_UNAVAILABLE";
    throw new LfmError(code, `[@lfm/core] ONNX Runtime refused the graph: ${message}`, { cause });
  }
}

/** What a run ran into, in the words of those who fed it. @throws {LfmError} SHAPE_MISMATCH for an id or a position beyond the rows of its table */
function explain(cause: unknown): never {
  const [, id, last] = /idx=(-?\d+) must be within the inclusive range \[-?\d+,(\d+)\]/.exec(String(cause)) ?? [];
  if (id === undefined) throw cause;
  throw new LfmError(
    "SHAPE_MISMATCH",
    `[@lfm/core] the graph looks up ${id} in a table of ${Number(last) + 1} rows: an id or a position beyond what the model has`,
    {
      cause,
    },
  );
}

class OrtExecutable implements Executable {
  private readonly ort: Ort;
  private readonly graph: Graph;
  private readonly session: InferenceSession;
  private readonly release: (fed: number) => Promise<void>;
  /** Most bytes that a run was fed. */
  private fed = 0;
  private disposed = false;
  private readonly bind: ReturnType<typeof feedBinder>;
  /** State buffers come back every other step: their wrappers are kept. */
  private readonly wrappers = new WeakMap<TypedArray, OrtTensor>();

  constructor(ort: Ort, graph: Graph, session: InferenceSession, release: (fed: number) => Promise<void>) {
    this.ort = ort;
    this.graph = graph;
    this.session = session;
    this.release = release;
    this.bind = feedBinder(graph);
  }

  async run(
    feeds: Readonly<Record<string, HostTensor>>,
    into: Readonly<Record<string, HostTensor>> = {},
  ): Promise<Record<string, HostTensor>> {
    if (this.disposed) throw new LfmError("INTERNAL", "[@lfm/core] this executable was disposed");
    this.bind(feeds);
    const ortFeeds: Record<string, OrtTensor> = {};
    let fed = 0;
    for (const name of this.session.inputNames) {
      ortFeeds[name] = this.wrap(feeds[name]!);
      fed += feeds[name]!.data.byteLength;
    }
    this.fed = Math.max(this.fed, fed);
    const fetches: Record<string, OrtTensor | null> = {};
    for (const { name } of this.graph.outputs) fetches[name] = into[name] ? this.wrap(into[name]!) : null;
    const results = await this.session.run(ortFeeds, fetches).catch(explain);
    const out: Record<string, HostTensor> = {};
    for (const { name } of this.graph.outputs) {
      const result = results[name]!;
      out[name] = into[name] ?? { dtype: fromOrt[result.type]!, shape: result.dims, data: result.data as TypedArray };
    }
    return out;
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await this.release(this.fed);
  }

  private wrap(t: HostTensor): OrtTensor {
    const known = this.wrappers.get(t.data);
    if (known && known.dims.length === t.shape.length && known.dims.every((d, i) => d === t.shape[i])) return known;
    const type = toOrt[t.dtype];
    if (!type) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] ONNX Runtime takes no ${t.dtype} from JavaScript; widen it first`);
    const wrapped = new this.ort.Tensor(type, t.data as Float32Array, [...t.shape]) as unknown as OrtTensor;
    this.wrappers.set(t.data, wrapped);
    return wrapped;
  }
}
