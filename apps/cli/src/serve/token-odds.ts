import type { Tokenizer } from "@lfm/formats";
import type { AnswerToken } from "./answer.js";

type Decodes = Pick<Tokenizer, "decode">;

/** Log probabilities as a chat has them. */
export interface ChatLogProbs {
  readonly content: readonly (ChatTokenOdds & { readonly top_logprobs: readonly ChatTokenOdds[] })[];
  readonly refusal: null;
}

interface ChatTokenOdds {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export function chatLogProbs(tokenizer: Decodes, tokens: readonly AnswerToken[]): ChatLogProbs {
  const odds = (token: number, logprob: number): ChatTokenOdds => {
    const text = textOf(tokenizer, token);
    return { token: text, logprob, bytes: [...Buffer.from(text)] };
  };
  return {
    content: tokens.map(({ token, logProb = 0, top = [] }) => ({
      ...odds(token, logProb),
      top_logprobs: top.map((t) => odds(t.token, t.logProb)),
    })),
    refusal: null,
  };
}

/** Log probabilities as a completion has them. */
export interface CompletionLogProbs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  /** Where the text of each begins, in UTF-16 units from the beginning of the answer's text. */
  readonly text_offset: readonly number[];
}

/** @param offset where the first of these tokens begins */
export function completionLogProbs(tokenizer: Decodes, tokens: readonly AnswerToken[], offset: number): CompletionLogProbs {
  const texts = tokens.map(({ token }) => textOf(tokenizer, token));
  let at = offset;
  return {
    tokens: texts,
    token_logprobs: tokens.map(({ logProb = 0 }) => logProb),
    top_logprobs: tokens.map(({ top = [] }) => Object.fromEntries(top.map((t) => [textOf(tokenizer, t.token), t.logProb]))),
    text_offset: texts.map((text) => {
      const begin = at;
      at += text.length;
      return begin;
    }),
  };
}

function textOf(tokenizer: Decodes, token: number): string {
  return tokenizer.decode([token], { skipSpecialTokens: false });
}
