import { wordTokenizer } from "@lfm/formats";
import { textRules } from "@lfm/models";

/** A word for each token of the small classifier. */
export const words = [..."abcdefghijklmnopqrstuvwx"].map((c) => `${c}${c}${c}`);

/** Words between spaces; what is none of them is read as the last one. */
export const rules = textRules(
  wordTokenizer({
    size: words.length,
    pad: 0,
    encode: (text) =>
      text
        .split(" ")
        .filter(Boolean)
        .map((w) => (words.includes(w) ? words.indexOf(w) : words.length - 1)),
    decode: (ids) => [...ids].map((i) => words[i]!).join(" "),
  }),
);
