import { padBatch } from "./pad-batch.js";
import type { Tokenizer } from "./tokenizer.js";

/** A vocabulary of whole words, as the generated world's. */
export interface WordVocabulary {
  readonly size: number;
  readonly pad: number;
  readonly bos: number;
  readonly eos: number;
  readonly unk: number;
  encode(text: string): number[];
  decode(ids: Iterable<number>): string;
}

/** One token per space-separated word; `<bos>` in front is the only special token that is added. */
export function wordTokenizer(vocabulary: WordVocabulary): Tokenizer {
  const { pad, bos, eos, unk } = vocabulary;
  const special = new Set([pad, bos, eos]);
  const encode: Tokenizer["encode"] = (text, options = {}) => {
    const first = [...((options.addSpecialTokens ?? true) ? [bos] : []), ...vocabulary.encode(text)];
    const second = options.pair === undefined ? [] : vocabulary.encode(options.pair);
    return { ids: [...first, ...second], segments: [...first.map(() => 0), ...second.map(() => 1)] };
  };
  return {
    vocabSize: vocabulary.size,
    specials: { pad, bos, eos, unk, cls: undefined, sep: undefined, mask: undefined },
    encode,
    encodeBatch: (texts, { maxLength = Number.POSITIVE_INFINITY } = {}) =>
      padBatch(
        texts.map((t) => {
          const { ids, segments } = encode(t);
          return { ids: ids.slice(0, maxLength), segments: segments.slice(0, maxLength) };
        }),
        pad,
      ),
    decode: (ids, options = {}) => vocabulary.decode(options.skipSpecialTokens ? ids.filter((id) => !special.has(id)) : ids),
  };
}
