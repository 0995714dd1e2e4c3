import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Engine, LfmError } from "@lfm/core";
import { type Hit, type Passage, readPassages } from "@lfm/data";
import { readJsonObject } from "@lfm/formats";
import { createEncoder, type Encoder, type SentenceConfig } from "@lfm/models";
import { loadBm25, loadVectorIndex, parseFactory, type SearchDepth } from "@lfm/retrieval";
import { z } from "zod";
import type { JobContext } from "../program/job.js";
import { chunkKinds } from "./chunks.js";
import { openPlain, requireTokenizer, splitDeltas } from "./models.js";
import type { BaseWish } from "./quantized.js";

/** What stands beside an index so that it can be searched again. */
const manifestSchema = z.looseObject({
  /** "bm25" or what faiss calls a dense index. */
  kind: z.string().refine(isKind, "neither bm25 nor a dense index"),
  /** The encoder of a dense index; folders by their absolute paths. */
  model: z.string().exactOptional(),
  documents: z.number().int().nonnegative(),
  /** How documents were cut. */
  chunks: z
    .strictObject({
      kind: z.enum(Object.keys(chunkKinds) as [keyof typeof chunkKinds]),
      size: z.number().int().positive(),
      overlap: z.number().int().nonnegative(),
    })
    .exactOptional(),
});
export type IndexManifest = Pick<z.output<typeof manifestSchema>, "kind" | "model" | "documents" | "chunks">;

export const indexFiles = { manifest: "index.json", index: "index.safetensors", passages: "passages.jsonl" } as const;

function isKind(kind: string): boolean {
  try {
    return kind === "bm25" || parseFactory(kind).name !== "";
  } catch {
    return false;
  }
}

/** An index that `lfm index` wrote. */
export interface OpenedIndex {
  readonly passages: readonly Passage[];
  /** The best k of each text. @param depth of a dense index */
  search(texts: readonly string[], k: number, depth?: SearchDepth): Promise<readonly (readonly Hit[])[]>;
  /** The same for a query with "phrases" and beginnings of words*; undefined of an index without words. */
  readonly query?: (query: string, k: number) => readonly Hit[];
  /** Gives back what the encoder of a dense index holds. */
  dispose(): Promise<void>;
}

/** What an index says of itself. @throws {LfmError} FILE_IO for a folder that is no index, FILE_FORMAT */
export function readIndexManifest(folder: string): IndexManifest {
  const path = join(folder, indexFiles.manifest);
  if (!existsSync(path))
    throw new LfmError("FILE_IO", `lfm: ${folder} is no index`, { hint: "lfm index documents.jsonl --out FOLDER makes one" });
  const parsed = manifestSchema.safeParse(readJsonObject(path));
  if (!parsed.success)
    throw new LfmError("FILE_FORMAT", `lfm: ${path} is not what lfm index writes: ${z.prettifyError(parsed.error)}`, {
      hint: "index the documents again with --overwrite",
    });
  return parsed.data;
}

/** @throws {LfmError} FILE_IO for a folder that is no index; FILE_FORMAT for one whose files are broken; as the readers of models */
export async function openIndex(folder: string, engine: Engine, job: JobContext): Promise<OpenedIndex> {
  const { kind, model } = readIndexManifest(folder);
  const passages = readPassages(join(folder, indexFiles.passages));
  const file = join(folder, indexFiles.index);
  if (kind === "bm25") {
    const index = loadBm25(file);
    return {
      passages,
      search: async (texts, k) => texts.map((text) => index.search(text, k)),
      query: (query, k) => index.query(query, k),
      dispose: async () => {},
    };
  }
  if (model === undefined)
    throw new LfmError("FILE_FORMAT", `lfm: ${join(folder, indexFiles.manifest)} names no encoder`, {
      hint: "index the documents again with --overwrite",
    });
  const index = loadVectorIndex(file);
  const encoder = await openEncoder(model, engine, job);
  return {
    passages,
    search: async (texts, k, depth = {}) => index.search(await encoder.encode(texts, { role: "query" }), k, depth),
    dispose: () => encoder.dispose(),
  };
}

/** A sentence encoder, and how its vectors are compared. */
export interface OpenedEncoder extends Encoder {
  readonly metric: "cosine" | "inner-product";
}

/** How vectors of a folder are compared. */
const metrics: Readonly<Record<NonNullable<SentenceConfig["similarity"]>, OpenedEncoder["metric"] | undefined>> = {
  cosine: "cosine",
  dot: "inner-product",
  euclidean: undefined,
  manhattan: undefined,
};

/**
 * A sentence encoder as its folder describes it: pooling, length, prompts, comparison; where it says nothing, the mean of all tokens, compared
 * by cosines.
 * @throws {LfmError} CAPABILITY_MISSING for distances that no index here has
 */
export async function openEncoder(name: string, engine: Engine, job: JobContext, base?: BaseWish): Promise<OpenedEncoder> {
  const m = await openPlain(name, job, base);
  const { similarity = "cosine", ...options } = m.sentence ?? {};
  const metric = metrics[similarity];
  if (metric === undefined)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `lfm: ${m.name} wants its vectors compared by the ${similarity} distance; an index here has none`,
      {
        hint: "indexes compare by cosine or dot: similarity_fn_name in config_sentence_transformers.json",
      },
    );
  return { ...(await createEncoder(engine, m.model, requireTokenizer(m), options)), metric };
}

/** The name of a model as it can be opened from any working directory: `MODEL+DELTA+…` with absolute paths where they are folders. */
export function placedName(name: string): string {
  const { base, deltas } = splitDeltas(name);
  return [base, ...deltas].map((part) => (existsSync(part) ? resolve(part) : part)).join("+");
}
