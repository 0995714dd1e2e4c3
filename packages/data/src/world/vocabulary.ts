import { LfmError } from "@lfm/core";

/** Number of label tokens `<l0>` … that classification tasks may answer with. */
export const LABEL_TOKENS = 16;

/** Special tokens, first in every vocabulary of the world. Ids: pad 0, bos 1, eos 2, unk 3. */
export const specialTokens: readonly string[] = [
  "<pad>",
  "<bos>",
  "<eos>",
  "<unk>",
  ...Array.from({ length: LABEL_TOKENS }, (_, i) => `<l${i}>`),
];

/** A word-level vocabulary: one token per space-separated word. */
export interface Vocabulary {
  readonly words: readonly string[];
  readonly size: number;
  readonly pad: number;
  readonly bos: number;
  readonly eos: number;
  readonly unk: number;
  /** Id of one word. Throws CONFIG_INVALID when the word is not in the vocabulary. */
  id(word: string): number;
  /** Ids of a text; words that are not in the vocabulary become `unk`. */
  encode(text: string): number[];
  /** Text of ids, words joined by one space; ids outside the vocabulary become `<unk>`. */
  decode(ids: Iterable<number>): string;
}

/** @param words distinct words without spaces; special tokens are put before them. Throws CONFIG_INVALID on repeats. */
export function createVocabulary(words: readonly string[]): Vocabulary {
  const all = [...specialTokens, ...words];
  const index = new Map(all.map((word, id) => [word, id]));
  if (index.size !== all.length) {
    const twice = all.find((word, id) => index.get(word) !== id);
    throw new LfmError("CONFIG_INVALID", `@lfm/data: word "${twice}" stands twice in a vocabulary`);
  }
  const unk = 3;
  return Object.freeze({
    words: all,
    size: all.length,
    pad: 0,
    bos: 1,
    eos: 2,
    unk,
    id(word: string): number {
      const id = index.get(word);
      if (id === undefined) throw new LfmError("CONFIG_INVALID", `@lfm/data: word "${word}" is not in the vocabulary`);
      return id;
    },
    encode: (text: string): number[] =>
      text
        .split(/\s+/)
        .filter((word) => word !== "")
        .map((word) => index.get(word) ?? unk),
    decode: (ids: Iterable<number>): string => Array.from(ids, (id) => all[id] ?? "<unk>").join(" "),
  });
}
