import { createRequire } from "node:module";
import { shapeEval } from "../dims.js";
import { allocate, type DType, type HostTensor } from "../dtype.js";
import { isLfmError, LfmError } from "../errors.js";
import { feedBinder } from "../feeds.js";
import { concreteAttrs, type Graph } from "../graph.js";
import { widenToF32 } from "../small-floats.js";
import { constantOp, type OpNode, type Tensor } from "../tensor.js";
import type { Engine, EngineOptions } from "./engine.js";
import type { Executable } from "./executable.js";
import { Executables } from "./executables.js";
import { loadWeight } from "./reference.js";
import type { Tf, TfTensor } from "./tfjs-namespace.js";

/** The packages that hold tfjs kernels, best first. */
export const tfjsPackages = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node", "@tensorflow/tfjs"] as const;

export interface TfjsOptions extends EngineOptions {
  /** One package instead of the best that loads. "tfjs" is plain JavaScript: slow, and there on every machine. */
  readonly backend?: "tfjs-node-gpu" | "tfjs-node" | "tfjs";
  /** The namespace of a tfjs loaded by the caller, for an installation that is not found from here. */
  readonly module?: unknown;
}

/**
 * Runs every operation as a tfjs kernel, one after the other. The kernels are used, never tfjs' own gradients: those are wrong at second
 * order. `threads` is taken by none of the packages; tfjs-node reads TF_NUM_INTRAOP_THREADS when it is loaded.
 * @throws {LfmError} BACKEND_UNAVAILABLE with the install line when no package loads
 */
export async function tfjsEngine(options: TfjsOptions = {}): Promise<Engine> {
  const { tf, name } = options.module ? { tf: options.module as Tf, name: packageOf(options.module) } : loadTfjs(options.backend);
  const backend = name === "@tensorflow/tfjs" ? "cpu" : "tensorflow";
  if (!(await tf.setBackend(backend)))
    throw new LfmError("BACKEND_UNAVAILABLE", `[@lfm/core] ${name} has no backend "${backend}"`, { hint: `npm i ${name}` });
  silently(tf);
  const executables = new Executables();
  return {
    name: "tfjs",
    description: `${name} ${tf.version["tfjs-node"] ?? tf.version.tfjs} (${backend})`,
    compile: async (graph) => {
      await select(tf, backend);
      return executables.add(new TfjsExecutable(tf, backend, graph));
    },
    executables,
    dispose: () => executables.dispose(),
  };
}

function loadTfjs(backend: TfjsOptions["backend"]): { readonly tf: Tf; readonly name: string } {
  // The main entry through require: the ESM build of tfjs does not resolve under plain Node.
  const require = createRequire(import.meta.url);
  const wanted = tfjsPackages.filter((p) => backend === undefined || p === `@tensorflow/${backend}`);
  const failures: Record<string, string> = {};
  for (const name of wanted) {
    try {
      return { tf: require(name) as Tf, name };
    } catch (cause) {
      failures[name] = cause instanceof Error ? cause.message.split("\n")[0]! : String(cause);
    }
  }
  throw new LfmError("BACKEND_UNAVAILABLE", `[@lfm/core] the engine tfjs needs ${wanted.join(" or ")}, and none of them loads`, {
    hint: `npm i ${wanted.at(-1)}`,
    details: { failures },
  });
}

function packageOf(tf: Tf): string {
  if (!tf.version["tfjs-node"]) return "@tensorflow/tfjs";
  return tf.backend().isUsingGpuDevice ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs-node";
}

/** The plain backend advertises tfjs-node on the console at its first write: libraries do not print. */
function silently(tf: Tf): void {
  const before = tf.env().getBool("PROD");
  tf.env().set("PROD", true);
  tf.scalar(0).dispose();
  tf.env().set("PROD", before);
}

/** All tfjs packages of a process share one current backend. */
async function select(tf: Tf, backend: string): Promise<void> {
  if (tf.getBackend() !== backend) await tf.setBackend(backend);
}

class TfjsExecutable implements Executable {
  private readonly tf: Tf;
  private readonly backend: string;
  private readonly graph: Graph;
  private readonly bind: ReturnType<typeof feedBinder>;
  /** Weights and constants, uploaded once. */
  private readonly resident = new Map<Tensor, TfTensor>();
  /** Per node: values that nothing after it reads. */
  private readonly lastUses: readonly (readonly Tensor[])[];
  private disposed = false;

  constructor(tf: Tf, backend: string, graph: Graph) {
    this.tf = tf;
    this.backend = backend;
    this.graph = graph;
    this.bind = feedBinder(graph);
    for (const { tensor, weight } of graph.frozen) this.resident.set(tensor, this.keep(loadWeight(weight)));
    for (const node of graph.nodes) if (isConstant(node)) this.resident.set(node.outputs[0]!, this.keep(node.attrs.value as HostTensor));
    this.lastUses = lastUses(graph, this.resident);
  }

  async run(
    feeds: Readonly<Record<string, HostTensor>>,
    into: Readonly<Record<string, HostTensor>> = {},
  ): Promise<Record<string, HostTensor>> {
    if (this.disposed) throw new LfmError("INTERNAL", "[@lfm/core] this executable was disposed");
    const env = this.bind(feeds);
    await select(this.tf, this.backend);
    const out: Record<string, HostTensor> = {};
    this.tf.tidy(() => {
      const values = new Map<Tensor, TfTensor>(this.resident);
      for (const { name, tensor } of this.graph.inputs) values.set(tensor, upload(this.tf, feeds[name]!));
      for (const [i, node] of this.graph.nodes.entries()) {
        if (isConstant(node)) continue;
        const results = this.runNode(node, values, env);
        for (const [k, y] of node.outputs.entries()) values.set(y, results[k]!);
        for (const x of this.lastUses[i]!) {
          (values.get(x) as TfTensor & { dispose(): void }).dispose();
          values.delete(x);
        }
      }
      for (const { name, tensor } of this.graph.outputs) {
        const value = values.get(tensor)!;
        const target = into[name] ?? { dtype: tensor.dtype, shape: [...value.shape], data: allocate(tensor.dtype, size(value)) };
        (target.data as Float32Array).set(value.dataSync());
        out[name] = target;
      }
    });
    return out;
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    this.tf.dispose([...this.resident.values()]);
    this.resident.clear();
  }

  private runNode(node: OpNode, values: ReadonlyMap<Tensor, TfTensor>, env: Parameters<typeof shapeEval>[1]): readonly TfTensor[] {
    const inputs = node.inputs.map((x) => values.get(x)!);
    const types = node.outputs.map((y) => ({ dtype: y.dtype, shape: shapeEval(y.shape, env) }));
    try {
      // A kernel that hands back its input would be freed with it.
      return this.tf.tidy(() =>
        node.op.tfjs(this.tf, inputs, concreteAttrs(node.attrs, env), types).map((y) => (inputs.includes(y) ? this.tf.clone(y) : y)),
      );
    } catch (cause) {
      if (isLfmError(cause)) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/core] tfjs cannot run ${node.op.name}: ${message}`, { cause });
    }
  }

  private keep(t: HostTensor): TfTensor {
    return this.tf.keep(upload(this.tf, t));
  }
}

function isConstant(node: OpNode): boolean {
  return node.op === (constantOp as unknown);
}

/** Inputs too are freed after their last reader; what is returned, and what stays, is not. */
function lastUses(graph: Graph, resident: ReadonlyMap<Tensor, unknown>): Tensor[][] {
  const stays = new Set<Tensor>([...resident.keys(), ...graph.outputs.map((o) => o.tensor)]);
  const last = new Map<Tensor, number>();
  for (const [i, node] of graph.nodes.entries()) for (const x of [...node.inputs, ...node.outputs]) if (!stays.has(x)) last.set(x, i);
  const uses: Tensor[][] = graph.nodes.map(() => []);
  for (const [x, i] of last) uses[i]!.push(x);
  return uses;
}

const tfDtype: Readonly<Partial<Record<DType, string>>> = {
  f32: "float32",
  f64: "float32",
  bf16: "float32",
  f16: "float32",
  i32: "int32",
  i8: "int32",
  u8: "int32",
  bool: "bool",
};

function upload(tf: Tf, t: HostTensor): TfTensor {
  const dtype = tfDtype[t.dtype];
  if (!dtype) throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/core] tfjs has no tensors of type ${t.dtype}`);
  const plain = t.dtype === "f32" || t.dtype === "i32" || t.dtype === "bool";
  const data = plain ? t.data : dtype === "float32" ? widenToF32(t).data : Int32Array.from(t.data as Int8Array);
  return tf.tensor(data, [...t.shape], dtype);
}

function size(t: TfTensor): number {
  return t.shape.reduce((a, b) => a * b, 1);
}
