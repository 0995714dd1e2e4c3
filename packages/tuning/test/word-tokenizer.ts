import { type Tokenizer, wordTokenizer } from "@lfm/formats";

/** Words between spaces, by their places in a list that begins with padding and the end of a text. */
export function tokenizerOf(words: readonly string[]): Tokenizer {
  return wordTokenizer({
    size: words.length,
    pad: 0,
    eos: 1,
    encode: (text) =>
      text
        .split(" ")
        .filter(Boolean)
        .map((w) => words.indexOf(w)),
    decode: (ids) => [...ids].map((i) => words[i]!).join(" "),
  });
}
