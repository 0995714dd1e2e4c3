import { LfmError } from "@lfm/core";
import { type Chunker, type ChunkSize, recursiveChunks, sentenceChunks, windowChunks } from "@lfm/retrieval";

/** How documents are cut before they are indexed, and how large a chunk is where nothing is said. */
export const chunkKinds = {
  recursive: { make: recursiveChunks, size: 1000 },
  sentences: { make: sentenceChunks, size: 200 },
  words: { make: windowChunks, size: 200 },
} as const satisfies Readonly<Record<string, { readonly make: (size: ChunkSize) => Chunker; readonly size: number }>>;

export interface ChunkWish {
  readonly chunk?: keyof typeof chunkKinds;
  readonly chunkSize?: number;
  readonly chunkOverlap?: number;
}

/** What a wish comes to, as it stands in an index. */
export interface ChunkRule extends Required<ChunkSize> {
  readonly kind: keyof typeof chunkKinds;
}

/** @throws {LfmError} CONFIG_INVALID for sizes without a kind */
export function chunkRule({ chunk, chunkSize, chunkOverlap }: ChunkWish): ChunkRule | undefined {
  if (chunk !== undefined) return { kind: chunk, size: chunkSize ?? chunkKinds[chunk].size, overlap: chunkOverlap ?? 0 };
  if (chunkSize !== undefined || chunkOverlap !== undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: --chunk-size and --chunk-overlap need --chunk", { hint: "--chunk recursive" });
  return undefined;
}

/** @throws {LfmError} CONFIG_INVALID for an overlap that is not below the size */
export function chunkerOf({ kind, size, overlap }: ChunkRule): Chunker {
  return chunkKinds[kind].make({ size, overlap });
}
