import { LfmError, type Rng } from "@lfm/core";
import type { ExampleTensors } from "../named-batch.js";
import type { StopOptions, TokenLogProb } from "./continuation.js";
import type { LogitRules } from "./logit-rules.js";
import { isGreedy, type SamplingOptions } from "./sampling.js";

/** Where a continuation stands. */
export interface Step {
  /** Number of the prompt. */
  readonly sequence: number;
  /** New tokens so far; with beams those of one of them. */
  readonly tokens: readonly number[];
}

/** How likely a token was, as far as `logProbs` and `topLogProbs` ask. */
export interface TokenOdds {
  readonly logProb?: number;
  readonly top?: readonly TokenLogProb[];
}

export interface GenerateOptions extends SamplingOptions, StopOptions, LogitRules {
  readonly maxNewTokens: number;
  /** What hooks read of each prompt, as it was declared where the generator was made. */
  readonly batch?: ExampleTensors;
  /** The token that answers of an encoder-decoder begin with. Default the model's. */
  readonly answerStart?: number;
  /** Randomness of sampling; default a stream with seed 0. In a batch every sequence has a stream of its own. */
  readonly rng?: Rng;
  /**
   * Changes the logits f32[vocab] of the next token in place, after the rules above and before log p is taken of them; −∞ forbids a token. To forbid them all is an error;
   * a beam search gives such a way up, and fails where it has no other.
   */
  readonly adjust?: (logits: Float32Array, step: Step) => void | Promise<void>;
  /** Also gives log p of every token. */
  readonly logProbs?: boolean;
  /** Also gives so many of the most likely tokens at each place, with log p of each, as for `logProbs`. Not of a beam search. */
  readonly topLogProbs?: number;
  /** Ways that a beam search follows at once; default 1: no search. */
  readonly beams?: number;
  /** Exponent of the length that sums of log p are divided by; default 1, of the beam search alone. */
  readonly lengthPenalty?: number;
  /** The beam search ends as soon as `beams` continuations have; default false: while a better one may come. */
  readonly earlyStopping?: boolean;
  /** Called with every token as it comes, those that turn out to end the sequence included; in a beam search when it has ended. */
  readonly onToken?: (token: number, sequence: number, odds: TokenOdds) => void;
  /** Stops between two steps with ABORTED. */
  readonly signal?: AbortSignal;
}

/** @throws {LfmError} CONFIG_INVALID */
export function checkGenerateOptions(o: GenerateOptions): void {
  const invalid = (what: string): LfmError => new LfmError("CONFIG_INVALID", `[@lfm/models] generate: ${what}`);
  if (!Number.isInteger(o.maxNewTokens) || o.maxNewTokens < 0) throw invalid(`maxNewTokens is ${o.maxNewTokens}, not a count`);
  if (o.temperature !== undefined && !(o.temperature >= 0)) throw invalid(`temperature is ${o.temperature}, below 0`);
  if (o.topK !== undefined && !(Number.isInteger(o.topK) && o.topK > 0)) throw invalid(`topK is ${o.topK}, not a positive count`);
  if (o.topP !== undefined && !(o.topP > 0 && o.topP <= 1)) throw invalid(`topP is ${o.topP}, not in (0, 1]`);
  if (o.minP !== undefined && !(o.minP >= 0 && o.minP <= 1)) throw invalid(`minP is ${o.minP}, not in 0..1`);
  if (o.repetitionPenalty !== undefined && !(o.repetitionPenalty > 0 && Number.isFinite(o.repetitionPenalty)))
    throw invalid(`repetitionPenalty is ${o.repetitionPenalty}, not above 0`);
  for (const name of ["noRepeatNgramSize", "minNewTokens", "topLogProbs"] as const)
    if (o[name] !== undefined && !(Number.isInteger(o[name]) && o[name] >= 0)) throw invalid(`${name} is ${o[name]}, not a count`);
  if (o.beams !== undefined && !(Number.isInteger(o.beams) && o.beams > 0)) throw invalid(`beams is ${o.beams}, not a positive count`);
  if ((o.beams ?? 1) > 1 && o.topLogProbs !== undefined) throw invalid("topLogProbs are those of one way, not of a beam search");
  if ((o.beams ?? 1) > 1 && !isGreedy(o))
    throw invalid("a beam search takes the most likely tokens; it does not go with temperature, topK, topP or minP");
}
