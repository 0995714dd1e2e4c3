import type { Tokenizer } from "@lfm/formats";

/** Texts that end a continuation, wherever in its tokens they fall. */
export interface StopTexts {
  /** Whether one of them stands in the text of these tokens; undefined where there are none. */
  readonly reached: ((tokens: readonly number[]) => boolean) | undefined;
  /** The text before the first of them. */
  cut(text: string): string;
  /** How much of a text that goes on may be shown: what one of them may yet begin with is kept back. */
  safe(text: string): number;
}

/** Tokens that one character is made of at most: the bytes of UTF-8. */
const TOKENS_PER_CHARACTER = 4;

/**
 * Compares decoded text, for a stop text rarely falls on the tokens that it has by itself: `.\n` may be one token, or end one.
 * @param texts empty ones are none
 */
export function stopTexts(tokenizer: Pick<Tokenizer, "decode">, texts: readonly string[]): StopTexts {
  const stops = texts.filter((text) => text !== "");
  const includesOne = (text: string): boolean => stops.some((stop) => text.includes(stop));
  const window = TOKENS_PER_CHARACTER * (Math.max(0, ...stops.map((s) => s.length)) + 1);
  return {
    // A special token may be a stop text itself, or stand within one and not be seen.
    reached:
      stops.length === 0
        ? undefined
        : (tokens) =>
            [true, false].some((skipSpecialTokens) => includesOne(tokenizer.decode(tokens.slice(-window), { skipSpecialTokens }))),
    cut: (text) => {
      const places = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      return places.length === 0 ? text : text.slice(0, Math.min(...places));
    },
    safe: (text) => {
      const places = stops.map((stop) => {
        const at = text.indexOf(stop);
        if (at >= 0) return at;
        let begun = Math.min(stop.length - 1, text.length);
        while (begun > 0 && !text.endsWith(stop.slice(0, begun))) begun--;
        return text.length - begun;
      });
      return Math.min(text.length, ...places);
    },
  };
}
