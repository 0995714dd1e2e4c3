import { type CompileOptions, type Engine, LfmError, type Model, Rng, throwIfAborted } from "@lfm/core";
import { Decoder } from "./decoder.js";
import { type SamplingOptions, sampleToken } from "./sampling.js";

export interface GenerateOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** Tokens, or sequences of tokens, that end a continuation. */
  readonly stop?: readonly (number | readonly number[])[];
  /** End-of-text tokens. */
  readonly eos?: number | readonly number[];
  /** Randomness of sampling; default a stream with seed 0. In a batch every sequence has a stream of its own. */
  readonly rng?: Rng;
  /** Called with every token as it comes, those that turn out to end the sequence included. */
  readonly onToken?: (token: number, sequence: number) => void;
  /** Stops between two steps with ABORTED. */
  readonly signal?: AbortSignal;
}

export interface Generated {
  /** New tokens, without the prompt and without what ended them. */
  readonly tokens: number[];
  /** Why it ended: an end-of-text token, a stop sequence, or the length (maxNewTokens, or the model's longest sequence). */
  readonly finish: "eos" | "stop" | "length";
}

/** Continues token sequences with a key/value cache. One call at a time. */
export interface Generator {
  /** @throws {LfmError} CONFIG_INVALID, SHAPE_MISMATCH, ABORTED */
  generate(prompt: readonly number[], options: GenerateOptions): Promise<Generated>;
  /** Prompts of any lengths together; each continuation is the same as alone. */
  generateBatch(prompts: readonly (readonly number[])[], options: GenerateOptions): Promise<Generated[]>;
  dispose(): Promise<void>;
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that predicts no tokens */
export async function createGenerator(engine: Engine, model: Model, options: CompileOptions = {}): Promise<Generator> {
  const decoder = await Decoder.create(engine, model, options);
  return {
    generate: async (prompt, o) => (await run(decoder, [prompt], o, [o.rng ?? new Rng(0)]))[0]!,
    generateBatch: (prompts, o) => {
      const rng = o.rng ?? new Rng(0);
      return run(
        decoder,
        prompts,
        o,
        prompts.map((_, i) => rng.split(i)),
      );
    },
    dispose: () => decoder.dispose(),
  };
}

async function run(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  o: GenerateOptions,
  rngs: readonly Rng[],
): Promise<Generated[]> {
  const sequences = prompts.map(() => new Continuation(o));
  const limit = checkedLimit(decoder, prompts, o);
  if (prompts.length === 0 || o.maxNewTokens === 0) return sequences.map((s) => s.result());
  throwIfAborted(o.signal, "[@lfm/models] generate");
  const { vocabSize } = decoder.model.info;
  const started = await decoder.start(prompts, o.maxNewTokens);
  let logits = started.logits;
  const tokens = new Int32Array(prompts.length);
  for (let step = 1; ; step++) {
    sequences.forEach((sequence, b) => {
      if (sequence.done) return;
      const token = sampleToken(logits.subarray(b * vocabSize!, (b + 1) * vocabSize!), o, rngs[b]!);
      tokens[b] = token;
      sequence.add(token, limit[b]!);
      o.onToken?.(token, b);
    });
    if (sequences.every((s) => s.done)) return sequences.map((s) => s.result());
    // Runs are synchronous under their promise: without a turn of the event loop no signal would ever arrive.
    if (o.signal || o.onToken) await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(o.signal, `[@lfm/models] generate, after ${step} tokens`);
    logits = await started.run.step(tokens);
  }
}

/** New tokens that each prompt may get. */
function checkedLimit(decoder: Decoder, prompts: readonly (readonly number[])[], o: GenerateOptions): number[] {
  const { maxLength, vocabSize, architecture } = decoder.model.info;
  const invalid = (what: string): LfmError => new LfmError("CONFIG_INVALID", `[@lfm/models] generate: ${what}`);
  if (!Number.isInteger(o.maxNewTokens) || o.maxNewTokens < 0) throw invalid(`maxNewTokens is ${o.maxNewTokens}, not a count`);
  if (o.temperature !== undefined && !(o.temperature >= 0)) throw invalid(`temperature is ${o.temperature}, below 0`);
  if (o.topK !== undefined && !(Number.isInteger(o.topK) && o.topK > 0)) throw invalid(`topK is ${o.topK}, not a positive count`);
  if (o.topP !== undefined && !(o.topP > 0 && o.topP <= 1)) throw invalid(`topP is ${o.topP}, not in (0, 1]`);
  return prompts.map((prompt, i) => {
    if (prompt.length === 0) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generate: prompt ${i} is empty; begin with a start token`);
    const outside = prompt.find((id) => !(id >= 0 && id < vocabSize!));
    if (outside !== undefined)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] generate: token ${outside} of prompt ${i} is outside 0..${vocabSize! - 1}`);
    const room = maxLength === undefined ? Infinity : maxLength - decoder.prefix - prompt.length;
    if (room < 0)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/models] generate: prompt ${i} has ${prompt.length} tokens, ${architecture} reads ${maxLength}`,
      );
    // the last token needs no position: nothing is computed from it
    return Math.min(o.maxNewTokens, room + 1);
  });
}

class Continuation {
  private readonly tokens: number[] = [];
  private readonly eos: ReadonlySet<number>;
  private readonly stops: readonly (readonly number[])[];
  private finish: Generated["finish"] | undefined;

  constructor({ eos, stop }: Pick<GenerateOptions, "eos" | "stop">) {
    this.eos = new Set(eos === undefined ? [] : typeof eos === "number" ? [eos] : eos);
    this.stops = (stop ?? []).map((s) => (typeof s === "number" ? [s] : s)).filter((s) => s.length > 0);
  }

  get done(): boolean {
    return this.finish !== undefined;
  }

  add(token: number, limit: number): void {
    if (this.eos.has(token)) {
      this.finish = "eos";
      return;
    }
    this.tokens.push(token);
    const ended = this.stops.find((s) => s.length <= this.tokens.length && s.every((id, i) => this.tokens.at(i - s.length) === id));
    if (ended) {
      this.tokens.length -= ended.length;
      this.finish = "stop";
    } else if (this.tokens.length >= limit) this.finish = "length";
  }

  result(): Generated {
    return { tokens: this.tokens, finish: this.finish ?? "length" };
  }
}
