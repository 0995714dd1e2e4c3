import { type Chunk, type Chunker, type ChunkSize, checkChunkSize, trimmed } from "./chunk.js";

/** Where the tokens of a text stand, in order. */
export type TokenPlaces = (text: string) => readonly Chunk[];

/** Words between white space. */
export const spacedWords: TokenPlaces = (text) =>
  [...text.matchAll(/\S+/g)].map((match) => ({ start: match.index, end: match.index + match[0].length }));

/** Sentences as the platform's ICU finds them. */
export function sentencesOf(locale = "en"): TokenPlaces {
  const segmenter = new Intl.Segmenter(locale, { granularity: "sentence" });
  return (text) =>
    [...segmenter.segment(text)].flatMap(({ index, segment }) => {
      const sentence = trimmed(text, index, index + segment.length);
      return sentence ? [sentence] : [];
    });
}

/**
 * Windows of `size` tokens that begin every size − overlap: the last one ends with the text.
 * @param places where tokens stand; default words between white space @throws {LfmError} CONFIG_INVALID
 */
export function windowChunks(options: ChunkSize, places: TokenPlaces = spacedWords): Chunker {
  const { size, overlap } = checkChunkSize(options);
  return (text) => {
    const tokens = places(text);
    const chunks: Chunk[] = [];
    for (let from = 0; from < tokens.length; from += size - overlap) {
      const to = Math.min(tokens.length, from + size);
      chunks.push({ start: tokens[from]!.start, end: tokens[to - 1]!.end });
      if (to === tokens.length) break;
    }
    return chunks;
  };
}

/**
 * As many whole sentences as fit into `size` words; the next chunk begins with those of the last that are together `overlap` words at most. A sentence that is
 * longer is a chunk by itself, whole.
 * @param sentences where they stand; default by ICU's rules for English @throws {LfmError} CONFIG_INVALID
 */
export function sentenceChunks(options: ChunkSize, sentences: TokenPlaces = sentencesOf()): Chunker {
  const { size, overlap } = checkChunkSize(options);
  return (text) => {
    const places = sentences(text);
    const words = places.map(({ start, end }) => spacedWords(text.slice(start, end)).length);
    const chunks: Chunk[] = [];
    let from = 0;
    while (from < places.length) {
      let to = from + 1;
      let total = words[from]!;
      while (to < places.length && total + words[to]! <= size) total += words[to++]!;
      chunks.push({ start: places[from]!.start, end: places[to - 1]!.end });
      if (to === places.length) break;
      let next = to;
      let repeated = 0;
      while (next - 1 > from && repeated + words[next - 1]! <= overlap && repeated + words[next - 1]! + words[to]! <= size)
        repeated += words[--next]!;
      from = next;
    }
    return chunks;
  };
}
