import {
  type CompileOptions,
  cast,
  compileModel,
  type Engine,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  type Model,
  type ParamTree,
  padRows,
  selectRows,
  sizeOf,
  slice,
  squeeze,
  sub,
  sum,
  sym,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import { batchesByLength } from "./batching.js";
import { batchSpecs, checkExamples, type ExampleSpecs, type ExampleTensors } from "./named-batch.js";
import { type Pooling, pool } from "./pooling.js";
import { rowsAt } from "./rows-at.js";

export interface PredictorOptions extends CompileOptions {
  /** Sequences per run. Default 32. */
  readonly batchSize?: number;
  /** What hooks read of each sequence. */
  readonly batch?: ExampleSpecs;
}

/** What is asked of every sequence. */
export type Wanted =
  /** f32[length, vocab] of a language model (what prompts put in front left out), f32[classes] of a classifier. */
  | "logits"
  /** f32[vocab]: of the token after the sequence. */
  | "next"
  /** f32[length, hidden] */
  | "last"
  /** f32[hidden] */
  | Pooling;

/** Answers for token sequences of any lengths, in batches of similar length. */
export interface Predictor {
  /**
   * One tensor per sequence, in the order given.
   * @param batch what hooks read of each sequence, as it was declared
   * @throws {LfmError} SHAPE_MISMATCH for an empty sequence or tensors that do not fit, ABORTED
   */
  predict(sequences: readonly (readonly number[])[], signal?: AbortSignal, batch?: ExampleTensors): Promise<HostTensor[]>;
  /**
   * Answers as another model on the same base from now on. Deltas of equal structure go on in the same session; not while it predicts.
   * @throws {LfmError} PARENT_MISMATCH
   */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that does not read tokens or does not give what is wanted */
export async function createPredictor(engine: Engine, model: Model, wanted: Wanted, options: PredictorOptions = {}): Promise<Predictor> {
  const { info } = model;
  if (info.input !== "tokens")
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] predictor: ${info.architecture} reads ${info.input}`);
  const shape = [sym("batch"), sym("seq")];
  const specs = { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape }, batch: batchSpecs(options.batch) } as const;
  const run = await compileModel(engine, model, specs, (input, params, at) => ({ answers: answer(at, params, input, wanted) }), options);
  return {
    predict: async (sequences, signal, given) => {
      const empty = sequences.findIndex((s) => s.length === 0);
      if (empty >= 0) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] predictor: sequence ${empty} is empty`);
      const named = Object.entries(checkExamples(options.batch, given, sequences.length));
      const lengths = sequences.map((s) => s.length);
      const out = new Array<HostTensor>(sequences.length);
      for (const items of batchesByLength(lengths, options.batchSize ?? 32)) {
        throwIfAborted(signal, "[@lfm/models] predictor");
        const rows = items.map((i) => sequences[i]!);
        const batch = Object.fromEntries(named.map(([name, t]) => [name, selectRows(t, items)]));
        const { answers } = await run({ ...padRows(rows), batch });
        items.forEach((item, b) => {
          out[item] = rowOf(answers, b, answers.shape.length === 3 ? lengths[item]! : undefined);
        });
      }
      return out;
    },
    swap: run.swap,
    dispose: run.dispose,
  };
}

interface TracedBatch {
  readonly tokens: Tensor;
  readonly mask: Tensor;
  readonly batch: Readonly<Record<string, Tensor>>;
}

/** f32[batch, …] or f32[batch, seq, …], of the tokens alone. */
function answer(model: Model, params: ParamTree, { batch, ...input }: TracedBatch, wanted: Wanted): Tensor {
  const out = model.forward(params, input, { mode: "eval", hooks: wanted === "next" ? [lastToken(input.mask)] : [], batch });
  const missing = (what: string): LfmError =>
    new LfmError("CAPABILITY_MISSING", `[@lfm/models] predictor: ${model.info.architecture} gives no ${what}`);
  const ownTokens = (x: Tensor): Tensor => slice(x, 1, out.prefix ?? 0, input.tokens.dim(1));
  switch (wanted) {
    case "logits":
      if (!out.logits) throw missing("logits");
      return out.logits.rank === 3 ? ownTokens(out.logits) : out.logits;
    case "next":
      if (out.logits?.rank !== 3) throw missing("logits of tokens");
      return squeeze(out.logits, 1);
    case "last":
      if (!out.last) throw missing("last hidden state");
      return ownTokens(out.last);
    default:
      return pool(out, wanted, input.mask);
  }
}

/** The head, the largest product of a small model, reads the last token of every row alone. mask — f32[batch, seq], padded on the right. */
export function lastToken(mask: Tensor): Hook {
  const index = sub(cast(sum(mask, 1), "i32"), 1);
  return {
    matches: (site) => site.kind === "head",
    input: (x) => rowsAt(x, index, mask.dim(1)),
  };
}

/** Row b of f32[batch, …]; of f32[batch, seq, …] its first `length` positions. */
function rowOf(t: HostTensor, b: number, length: number | undefined): HostTensor {
  const [rows, ...rest] = t.shape;
  const stride = t.data.length / rows!;
  const shape = length === undefined ? rest : [length, ...rest.slice(1)];
  return f32((t.data as Float32Array).slice(b * stride, b * stride + sizeOf(shape)), shape);
}
