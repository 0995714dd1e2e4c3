import { type Chunk, type Chunker, type ChunkSize, checkChunkSize, trimmed } from "./chunk.js";

export interface RecursiveOptions extends ChunkSize {
  /** Where to cut, the best first; "" is between any two characters. Default: paragraphs, lines, words, characters. */
  readonly separators?: readonly string[];
}

const SEPARATORS = ["\n\n", "\n", " ", ""];

/**
 * Cuts at the first separator that a text has; what is still too long is cut at the next, and so on; neighbours are joined as long as they fit. Sizes are in
 * UTF-16 units. Chunks are those of langchain's RecursiveCharacterTextSplitter: separators stay in front of what follows them, white space at the ends goes.
 * @throws {LfmError} CONFIG_INVALID
 */
export function recursiveChunks(options: RecursiveOptions): Chunker {
  const { size, overlap } = checkChunkSize(options);
  const { separators = SEPARATORS } = options;
  return (text) => {
    const out: Chunk[] = [];
    const keep = (start: number, end: number): void => {
      const chunk = trimmed(text, start, end);
      if (chunk) out.push(chunk);
    };
    /** Joins neighbours; what a chunk repeats of the one before it are whole parts. */
    const merge = (parts: readonly Chunk[]): void => {
      let current: Chunk[] = [];
      let total = 0;
      for (const part of parts) {
        const length = part.end - part.start;
        if (total + length > size && current.length > 0) {
          keep(current[0]!.start, current.at(-1)!.end);
          while (total > overlap || (total + length > size && total > 0)) {
            total -= current[0]!.end - current[0]!.start;
            current = current.slice(1);
          }
        }
        current.push(part);
        total += length;
      }
      if (current.length > 0) keep(current[0]!.start, current.at(-1)!.end);
    };
    const split = (start: number, end: number, list: readonly string[]): void => {
      const part = text.slice(start, end);
      const at = list.findIndex((separator) => separator === "" || part.includes(separator));
      const separator = at < 0 ? (list.at(-1) ?? "") : list[at]!;
      const rest = at < 0 || separator === "" ? [] : list.slice(at + 1);
      let good: Chunk[] = [];
      for (const piece of cut(part, separator, start)) {
        if (piece.end - piece.start < size) {
          good.push(piece);
          continue;
        }
        merge(good);
        good = [];
        if (rest.length === 0) out.push(piece);
        else split(piece.start, piece.end, rest);
      }
      merge(good);
    };
    split(0, text.length, separators);
    return out;
  };
}

/** Pieces of a text at `offset`, each but the first beginning with the separator. */
function cut(text: string, separator: string, offset: number): Chunk[] {
  const ends: number[] = [];
  if (separator === "") {
    let at = 0;
    for (const character of text) {
      at += character.length;
      ends.push(at);
    }
  } else {
    for (let at = text.indexOf(separator); at >= 0; at = text.indexOf(separator, at + separator.length)) ends.push(at);
    ends.push(text.length);
  }
  let start = 0;
  return ends.flatMap((end) => {
    const piece = { start: offset + start, end: offset + end };
    start = end;
    return piece.end > piece.start ? [piece] : [];
  });
}
