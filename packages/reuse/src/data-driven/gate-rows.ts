import {
  compileModel,
  f32,
  type HostTensor,
  i32,
  LfmError,
  loadWeight,
  type MethodContext,
  type Model,
  sym,
  throwIfAborted,
  widenToF32,
} from "@lfm/core";

/** Token ids of prompts that an expert shall answer, and of those that it shall not. */
export interface Prompts {
  readonly positive: readonly (readonly number[])[];
  readonly negative?: readonly (readonly number[])[];
}

export type GateMode = "hidden" | "hidden-avg" | "cheap-embed" | "random" | "uniform-random";

/**
 * The gate of each layer, f32[experts, hidden]. From prompts: the mean over prompts of what flows into the layer (at the last token, or averaged
 * over tokens) or of summed embeddings, positive less negative, scaled to length 1.
 * @throws {LfmError} CONFIG_INVALID for an expert without prompts, ABORTED
 */
export async function gateRows(
  model: Model,
  experts: readonly string[],
  prompts: Readonly<Record<string, Prompts>>,
  mode: GateMode,
  context: MethodContext,
): Promise<HostTensor[]> {
  const { layers, hiddenSize } = model.info;
  const shape = [experts.length, hiddenSize];
  if (mode === "random" || mode === "uniform-random") {
    const bound = 1 / Math.sqrt(hiddenSize);
    return Array.from({ length: layers }, (_, layer) => {
      const rng = context.rng.split(`gate ${layer}`);
      const n = experts.length * hiddenSize;
      return f32(mode === "random" ? rng.normalArray(n) : rng.uniformArray(n, -bound, bound), shape);
    });
  }
  const rows = layersOf(layers, () => new Float32Array(experts.length * hiddenSize));
  const read = mode === "cheap-embed" ? embeddingReader(model) : await hiddenReader(model, mode, context);
  try {
    for (const [e, name] of experts.entries()) {
      throwIfAborted(context.signal, "[@lfm/reuse] gate from prompts");
      const given = prompts[name];
      if (!given || given.positive.length === 0)
        throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] moe-upcycling: the expert "${name}" has no prompts that it shall answer`, {
          hint: "give some, or take a random gate and train it",
        });
      const vectors = await meanOf(read, given.positive, layers, hiddenSize);
      if (given.negative?.length) {
        const off = await meanOf(read, given.negative, layers, hiddenSize);
        for (const [layer, v] of vectors.entries()) for (let i = 0; i < hiddenSize; i++) v[i] = v[i]! - off[layer]![i]!;
      }
      for (const [layer, v] of vectors.entries()) {
        const length = Math.max(Math.hypot(...v), 1e-8);
        for (let i = 0; i < hiddenSize; i++) rows[layer]![e * hiddenSize + i] = v[i]! / length;
      }
      context.progress({ phase: "gate", done: e + 1, total: experts.length, unit: "expert" });
    }
  } finally {
    await read.dispose?.();
  }
  return rows.map((data) => f32(data, shape));
}

/** One vector per layer for a prompt. */
interface PromptReader {
  (prompt: readonly number[]): Promise<readonly ArrayLike<number>[]>;
  dispose?(): Promise<void>;
}

async function meanOf(
  read: PromptReader,
  prompts: readonly (readonly number[])[],
  layers: number,
  hidden: number,
): Promise<Float64Array[]> {
  const sums = layersOf(layers, () => new Float64Array(hidden));
  for (const prompt of prompts) {
    if (prompt.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] moe-upcycling: a prompt is empty");
    const vectors = await read(prompt);
    for (const [layer, sum] of sums.entries()) for (let i = 0; i < hidden; i++) sum[i] = sum[i]! + vectors[layer]![i]! / prompts.length;
  }
  return sums;
}

async function hiddenReader(model: Model, mode: "hidden" | "hidden-avg", context: MethodContext): Promise<PromptReader> {
  const { layers, hiddenSize } = model.info;
  const f = await compileModel(context.engine, model, { tokens: { dtype: "i32", shape: [1, sym("seq")] } }, ({ tokens }, params, at) => {
    const { hidden } = at.forward(params, { tokens }, { mode: "eval", want: { hidden: true } });
    return { states: hidden!.slice(0, layers) };
  });
  const read: PromptReader = async (prompt) => {
    const { states } = await f({ tokens: i32(prompt, [1, prompt.length]) });
    return states.map((t) => {
      const data = t.data as Float32Array;
      if (mode === "hidden") return data.slice(data.length - hiddenSize);
      const mean = new Float64Array(hiddenSize);
      for (const [j, v] of data.entries()) mean[j % hiddenSize] = mean[j % hiddenSize]! + v / prompt.length;
      return mean;
    });
  };
  read.dispose = () => f.dispose();
  return read;
}

function embeddingReader(model: Model): PromptReader {
  const { layers, hiddenSize } = model.info;
  const table = model.info.sites.find((s) => s.kind === "embedding")!.weight!.name;
  const data = widenToF32(loadWeight(model.params[table]!)).data as Float32Array;
  return async (prompt) => {
    const sum = new Float64Array(hiddenSize);
    for (const id of prompt) for (let i = 0; i < hiddenSize; i++) sum[i] = sum[i]! + data[id * hiddenSize + i]!;
    return layersOf(layers, () => sum);
  };
}

function layersOf<T>(layers: number, make: () => T): T[] {
  return Array.from({ length: layers }, make);
}
