import { LfmError } from "@lfm/core";
import type { Passage } from "@lfm/data";

/** A part of a text: text.slice(start, end). */
export interface Chunk {
  readonly start: number;
  readonly end: number;
}

/** Cuts a text into parts, in order; they may overlap, and leave out white space between them. */
export type Chunker = (text: string) => readonly Chunk[];

export interface ChunkSize {
  /** Most that a chunk holds, in units of the chunker. */
  readonly size: number;
  /** Most that it repeats of the one before; less than size, default 0. */
  readonly overlap?: number;
}

/** @throws {LfmError} CONFIG_INVALID for a size below 1 or an overlap that is not below it */
export function checkChunkSize({ size, overlap = 0 }: ChunkSize): Required<ChunkSize> {
  if (!(Number.isInteger(size) && size >= 1 && Number.isInteger(overlap) && overlap >= 0 && overlap < size))
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/retrieval] chunks need a size of 1 or more and an overlap below it, got ${size} and ${overlap}`,
    );
  return { size, overlap };
}

/** Without white space at its ends; undefined where nothing is left. */
export function trimmed(text: string, start: number, end: number): Chunk | undefined {
  const part = text.slice(start, end);
  const inner = part.trim();
  if (inner === "") return undefined;
  const from = start + part.length - part.trimStart().length;
  return { start: from, end: from + inner.length };
}

/** A chunk of a passage as a passage of its own, and where it stands. */
export interface ChunkedPassage extends Passage, Chunk {
  /** Id of the whole. */
  readonly parent: string;
}

/** Passages cut into chunks with the ids `ID#1`, `ID#2` …; a title stays with each. A passage that is one chunk keeps its id. */
export function chunkPassages(passages: readonly Passage[], chunker: Chunker): ChunkedPassage[] {
  return passages.flatMap(({ id, title, text }) => {
    const chunks = chunker(text);
    const whole = chunks.length === 0 ? [{ start: 0, end: text.length }] : chunks;
    return whole.map(({ start, end }, i) => ({
      id: whole.length === 1 ? id : `${id}#${i + 1}`,
      ...(title === undefined ? {} : { title }),
      text: text.slice(start, end),
      parent: id,
      start,
      end,
    }));
  });
}
