import type { Answer } from "./answer.js";

/** Tokens that a request took. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** @param prompt tokens of all prompts, each counted once */
export function usageOf(prompt: number, answers: readonly Answer[]): Usage {
  const made = answers.reduce((n, a) => n + a.made, 0);
  return { prompt_tokens: prompt, completion_tokens: made, total_tokens: prompt + made };
}
