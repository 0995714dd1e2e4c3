import { LfmError } from "@lfm/core";

/** What a continuation may not do, as transformers' logits processors of these names (5.24) have it. */
export interface LogitRules {
  /**
   * Logits of tokens that stand in the prompt or came since are divided by it where positive, multiplied where negative (arXiv 1909.05858,
   * section 4.1), > 0; 1 changes nothing. A beam search does so with log p.
   */
  readonly repetitionPenalty?: number;
  /** So many tokens in a row stand once at most, prompt included; 0 for no such rule. */
  readonly noRepeatNgramSize?: number;
  /** New tokens before an end-of-text token may come. */
  readonly minNewTokens?: number;
  /** Tokens that never come. */
  readonly suppress?: readonly number[];
  /** Tokens that do not come first. */
  readonly suppressFirst?: readonly number[];
}

/** @returns whether any rule is asked for */
export function hasLogitRules({ repetitionPenalty = 1, noRepeatNgramSize = 0, minNewTokens = 0, ...o }: LogitRules): boolean {
  return repetitionPenalty !== 1 || noRepeatNgramSize > 0 || minNewTokens > 0 || o.suppress !== undefined || o.suppressFirst !== undefined;
}

/**
 * Changes the scores of the next token in place: logits, or log p in a beam search.
 * @param scores f32[vocab]
 * @param tokens prompt and new tokens
 * @param done how many of them are new
 * @param eos end-of-text tokens
 */
export function applyLogitRules(
  scores: Float32Array,
  tokens: readonly number[],
  done: number,
  o: LogitRules,
  eos: Iterable<number> = [],
): void {
  const { repetitionPenalty: penalty = 1, noRepeatNgramSize: size = 0 } = o;
  if (penalty !== 1)
    for (const token of new Set(tokens)) scores[token] = scores[token]! > 0 ? scores[token]! / penalty : scores[token]! * penalty;
  if (size > 0) for (const token of closing(tokens, size)) forbid(scores, token);
  if (done < (o.minNewTokens ?? 0)) for (const token of eos) forbid(scores, token);
  for (const token of o.suppress ?? []) forbid(scores, token);
  if (done === 0) for (const token of o.suppressFirst ?? []) forbid(scores, token);
}

/** An id that the model has no score for cannot come anyway. */
function forbid(scores: Float32Array, token: number): void {
  if (token < scores.length) scores[token] = Number.NEGATIVE_INFINITY;
}

/** Tokens that would close a run of `size` tokens that has been there before. */
function closing(tokens: readonly number[], size: number): number[] {
  const from = tokens.length - size + 1;
  if (from < 0) return [];
  const found: number[] = [];
  for (let i = 0; i + size <= tokens.length; i++) {
    let j = 0;
    while (j < size - 1 && tokens[i + j] === tokens[from + j]) j++;
    if (j === size - 1) found.push(tokens[i + size - 1]!);
  }
  return found;
}

/**
 * A model whose weights overflowed or are no numbers answers NaN, of which no token is the most likely one.
 * @param done new tokens so far
 * @throws {LfmError} NUMERIC_DIVERGED
 */
export function requireNumbers(logits: Float32Array, sequence: number, done: number): void {
  for (let token = 0; token < logits.length; token++) {
    if (logits[token]! < Number.POSITIVE_INFINITY) continue;
    throw new LfmError(
      "NUMERIC_DIVERGED",
      `[@lfm/models] generate: the model gives ${logits[token]} for token ${token} after ${done} new tokens of prompt ${sequence}`,
      { hint: "its weights, or those of a delta on it, hold numbers that are none: train it again with a smaller learning rate" },
    );
  }
}
