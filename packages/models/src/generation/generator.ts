import { type Engine, type Model, Rng, throwIfAborted } from "@lfm/core";
import type { ExampleTensors } from "../named-batch.js";
import { beamSearch } from "./beam-search.js";
import type { Generated } from "./continuation.js";
import { Decoder } from "./decoder.js";
import { checkGenerateOptions, type GenerateOptions } from "./generate-options.js";
import { checkPrompts, type Generation, newTokensAtMost, openGeneration } from "./generation.js";
import type { DecodingOptions } from "./step-graph.js";
import { TokenChoice } from "./token-choice.js";

export interface OpenOptions {
  /** Tokens that will come after the prompts, as far as is known. Default 64. */
  readonly room?: number;
  /** What hooks read of each prompt, as it was declared. */
  readonly batch?: ExampleTensors;
  /** The token that answers of an encoder-decoder begin with. Default the model's. */
  readonly answerStart?: number;
}

/**
 * Continues token sequences with a key/value cache; an encoder-decoder answers them, each read once by its encoder. One call at a time.
 */
export interface Generator {
  /** @throws {LfmError} CONFIG_INVALID, also where `adjust` forbids every token, SHAPE_MISMATCH, NUMERIC_DIVERGED for a model of NaN, ABORTED */
  generate(prompt: readonly number[], options: GenerateOptions): Promise<Generated>;
  /** Prompts of any lengths together; each continuation is the same as alone. */
  generateBatch(prompts: readonly (readonly number[])[], options: GenerateOptions): Promise<Generated[]>;
  /**
   * Sequences that the caller steers.
   * @throws {LfmError} SHAPE_MISMATCH for an empty or too long prompt, and for tokens that are none
   */
  open(prompts: readonly (readonly number[])[], options?: OpenOptions): Promise<Generation>;
  /**
   * Continues as another model on the same base from now on; deltas of equal structure go on in the same session. What was opened before ends.
   * @throws {LfmError} PARENT_MISMATCH
   */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that predicts no tokens */
export async function createGenerator(engine: Engine, model: Model, options: DecodingOptions = {}): Promise<Generator> {
  const decoder = await Decoder.create(engine, model, options);
  return {
    generate: async (prompt, o) => (await run(decoder, [prompt], o, () => o.rng ?? new Rng(0)))[0]!,
    generateBatch: (prompts, o) => {
      const rng = o.rng ?? new Rng(0);
      return run(decoder, prompts, o, (i) => rng.split(i));
    },
    open: (prompts, { room = 64, batch, answerStart } = {}) => openGeneration(decoder, prompts, room, batch, answerStart),
    swap: (to) => decoder.swap(to),
    dispose: () => decoder.dispose(),
  };
}

/** Positions that the cache has room for at the beginning; it grows. */
const ROOM_AT_FIRST = 1024;

async function run(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  o: GenerateOptions,
  rngOf: (sequence: number) => Rng,
): Promise<Generated[]> {
  checkGenerateOptions(o);
  checkPrompts(decoder, prompts);
  if (prompts.length === 0 || o.maxNewTokens === 0) return prompts.map(() => ({ tokens: [], finish: "length" }));
  throwIfAborted(o.signal, "[@lfm/models] generate");
  const limits = prompts.map((p) => newTokensAtMost(decoder, p.length, o));
  const generation = await openGeneration(decoder, prompts, Math.min(ROOM_AT_FIRST, Math.max(...limits)), o.batch, o.answerStart);
  if ((o.beams ?? 1) > 1) return beamSearch(generation, limits, o);
  return oneWay(
    generation,
    limits,
    o,
    prompts.map((_, i) => rngOf(i)),
  );
}

/** Token after token, the most likely or a drawn one. */
async function oneWay(generation: Generation, limits: readonly number[], o: GenerateOptions, rngs: readonly Rng[]): Promise<Generated[]> {
  const choices = limits.map((limit, sequence) => new TokenChoice(o, { sequence, limit, rng: rngs[sequence]! }));
  for (let step = 1; ; step++) {
    for (const [sequence, choice] of choices.entries())
      if (!choice.ended) await choice.take(generation.logits(sequence), () => generation.tokens[sequence]!);
    if (choices.every((c) => c.ended)) return choices.map((c) => c.result());
    // Runs are synchronous under their promise: without a turn of the event loop no signal would ever arrive.
    if (o.signal || o.onToken) await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(o.signal, `[@lfm/models] generate, after ${step} tokens`);
    await generation.push(choices.map((c) => (c.ended ? [] : [c.tokens.at(-1)!])));
  }
}
