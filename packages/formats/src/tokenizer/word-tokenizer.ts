import { padBatch } from "./pad-batch.js";
import type { SpecialTokens, Tokenizer } from "./tokenizer.js";

/** A plain vocabulary: one token per word, whatever a word is to it. The generated world's vocabulary is one. */
export interface WordVocabulary {
  readonly size: number;
  readonly pad?: number;
  readonly bos?: number;
  readonly eos?: number;
  readonly unk?: number;
  encode(text: string): number[];
  decode(ids: Iterable<number>): string;
}

/**
 * A tokenizer over a plain vocabulary. `bos`, where the vocabulary has one, goes in front as the only special token;
 * the two texts of a pair follow each other, the second with segment 1.
 */
export function wordTokenizer(vocabulary: WordVocabulary): Tokenizer {
  const { pad, bos, eos, unk } = vocabulary;
  const specials: SpecialTokens = { pad, bos, eos, unk, cls: undefined, sep: undefined, mask: undefined };
  const special = new Set([pad, bos, eos].filter((id) => id !== undefined));
  const encode: Tokenizer["encode"] = (text, { pair, addSpecialTokens = true } = {}) => {
    const first = [...(addSpecialTokens && bos !== undefined ? [bos] : []), ...vocabulary.encode(text)];
    const second = pair === undefined ? [] : vocabulary.encode(pair);
    return { ids: [...first, ...second], segments: [...first.map(() => 0), ...second.map(() => 1)] };
  };
  return {
    vocabSize: vocabulary.size,
    specials,
    around: { before: bos === undefined ? [] : [bos], after: [] },
    encode,
    encodeBatch: (texts, { maxLength, pairs, addSpecialTokens = true } = {}) => {
      const rows = texts.map((text, i) => {
        const row = encode(text, { addSpecialTokens, ...(pairs ? { pair: pairs[i]! } : {}) });
        return maxLength === undefined ? row : { ids: row.ids.slice(0, maxLength), segments: row.segments.slice(0, maxLength) };
      });
      return padBatch(rows, pad ?? eos ?? 0);
    },
    decode: (ids, { skipSpecialTokens = false } = {}) =>
      vocabulary.decode([...ids].filter((id) => !(skipSpecialTokens && special.has(id)))),
  };
}
