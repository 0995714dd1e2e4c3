import { idsOfBoth, type TextRules } from "@lfm/models";
import type { Continued } from "./answer-scorer.js";

/** A prompt and an answer as tokens, the answer as it follows there: words of their own, with a space between where neither has one. */
export function answerTokens(rules: TextRules, prompt: string, answer: string): Continued {
  const apart = /\s$/.test(prompt) || /^\s/.test(answer) ? answer : ` ${answer}`;
  const { head, tail } = idsOfBoth(rules, prompt, apart);
  return { prompt: [...rules.start, ...head], answer: tail };
}
