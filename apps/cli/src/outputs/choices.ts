import { argMax, cast, constant, cumSum, equal, gather, i32, mul, sum, type Tensor } from "@lfm/core";
import type { TokenRow } from "@lfm/tuning";

/** Answers that are still a few. */
const MOST = 20;

/**
 * First tokens of the answers of rows, where all rows are answered with one of a few, which these tokens tell apart; undefined of all others. At least
 * one answer must come twice: as many answers as rows are no choice.
 */
export function choiceTokens(rows: readonly TokenRow[]): readonly number[] | undefined {
  const answers = new Map<string, number>();
  for (const { ids, weights } of rows) answers.set(ids.filter((_, i) => weights[i] === 1).join(), ids[weights.indexOf(1)]!);
  const tokens = [...new Set(answers.values())];
  const few = answers.size >= 2 && answers.size <= MOST && answers.size < rows.length;
  return few && tokens.length === answers.size ? tokens : undefined;
}

/**
 * 1 for rows whose answer begins with the most likely of these tokens, f32[batch].
 * @param logits f32[batch, seq, vocab] of each next token; next — i32[batch, seq]; weights — f32[batch, seq], 1 on the answer's tokens
 */
export function choiceHits(logits: Tensor, next: Tensor, weights: Tensor, tokens: readonly number[]): Tensor {
  const places = constant(i32(tokens));
  const chosen = gather(places, argMax(gather(logits, places, 2)));
  const first = mul(cast(equal(cumSum(weights, 1), 1), "f32"), weights);
  return sum(mul(cast(equal(chosen, next), "f32"), first), 1);
}
