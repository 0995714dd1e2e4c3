import {
  type CompileOptions,
  compileModel,
  type Engine,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  padRows,
  sym,
  throwIfAborted,
} from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { batchesByLength } from "./batching.js";
import { type Pooling, pool, unitLength } from "./pooling.js";

export interface EncoderOptions extends CompileOptions {
  /** Default "mean", as most sentence models; several are put side by side. */
  readonly pooling?: Pooling | readonly Pooling[];
  /** Unit length, so that products are cosines. Default true. */
  readonly normalize?: boolean;
  /** Tokens per text, special ones included; longer texts are cut. Default, and never more than, what the model reads at most. */
  readonly maxLength?: number;
  /** Texts that stand before queries and documents. */
  readonly prompts?: { readonly query: string; readonly document: string };
  /** Texts are read in lower case. Default false. */
  readonly lowerCase?: boolean;
  /** Texts per run. Default 16: more of them share less of a length, and a run that fits the cache is faster. */
  readonly batchSize?: number;
}

export interface EncodeOptions {
  /** What the texts are: models may want a prompt before each. Default: no prompt. */
  readonly role?: "query" | "document";
  /** Stops between two batches with ABORTED. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Texts to vectors, as sentence-transformers makes them. */
export interface Encoder {
  /** @returns f32[texts, dimension], in the order of the texts */
  encode(texts: readonly string[], options?: EncodeOptions): Promise<HostTensor>;
  readonly dimension: number;
  /**
   * Encodes as another model on the same base from now on. Deltas of equal structure go on in the same session; not while it encodes.
   * @throws {LfmError} PARENT_MISMATCH
   */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/** Texts that are split into tokens at once: bounds the padded copy that the tokenizer makes. */
const CHUNK = 512;

/** @throws {LfmError} CAPABILITY_MISSING for a model that does not read tokens or has no hidden states, CONFIG_INVALID */
export async function createEncoder(engine: Engine, model: Model, tokenizer: Tokenizer, options: EncoderOptions = {}): Promise<Encoder> {
  const { info } = model;
  if (info.input !== "tokens")
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] encoder: ${info.architecture} reads ${info.input}, not tokens`);
  const limit = info.maxLength ?? Number.POSITIVE_INFINITY;
  const maxLength = Math.min(options.maxLength ?? limit, limit);
  if (!(maxLength >= 1)) throw new LfmError("CONFIG_INVALID", `[@lfm/models] encoder: maxLength is ${maxLength}, not a positive count`);
  const pooling = options.pooling ?? "mean";
  const dimension = info.hiddenSize * (typeof pooling === "string" ? 1 : pooling.length);
  const shape = [sym("batch"), sym("seq")];
  const specs = { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape } } as const;
  const run = await compileModel(
    engine,
    model,
    specs,
    (input, params, at) => {
      const pooled = pool(at.forward(params, input, { mode: "eval" }), pooling, input.mask);
      return { vectors: (options.normalize ?? true) ? unitLength(pooled) : pooled };
    },
    options,
  );
  return {
    dimension,
    encode: async (texts, { role, signal, onProgress } = {}) => {
      const prompt = (role && options.prompts?.[role]) ?? "";
      const read = texts.map((text) => (options.lowerCase ? lowerCase(prompt + text) : prompt + text));
      const rows = tokenRows(read, tokenizer, maxLength);
      const out = new Float32Array(texts.length * dimension);
      const lengths = rows.map((r) => r.length);
      let done = 0;
      for (const items of batchesByLength(lengths, options.batchSize ?? 16)) {
        throwIfAborted(signal, "[@lfm/models] encoder");
        const batch = items.map((i) => rows[i]!);
        const { data } = (await run(padRows(batch))).vectors;
        items.forEach((item, b) => {
          out.set((data as Float32Array).subarray(b * dimension, (b + 1) * dimension), item * dimension);
        });
        done += items.length;
        onProgress?.(done, texts.length);
        if (signal) await new Promise((resolve) => setImmediate(resolve));
      }
      return f32(out, [texts.length, dimension]);
    },
    swap: run.swap,
    dispose: run.dispose,
  };
}

/** Letter by letter, as the tokenizers library: a Σ at the end of a word is none of its own. */
function lowerCase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}

function tokenRows(texts: readonly string[], tokenizer: Tokenizer, maxLength: number): number[][] {
  const rows: number[][] = [];
  for (let at = 0; at < texts.length; at += CHUNK) {
    const chunk = texts.slice(at, at + CHUNK);
    const { tokens, mask } = tokenizer.encodeBatch(chunk, Number.isFinite(maxLength) ? { maxLength } : {});
    const width = tokens.shape[1]!;
    for (let b = 0; b < chunk.length; b++) {
      const row: number[] = [];
      for (let j = b * width; j < (b + 1) * width && Number(mask.data[j]) === 1; j++) row.push(Number(tokens.data[j]));
      rows.push(row);
    }
  }
  return rows;
}
