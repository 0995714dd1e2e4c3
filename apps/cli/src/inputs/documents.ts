import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Engine, LfmError } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import { createEncoder, type Encoder, type SentenceConfig } from "@lfm/models";
import { loadBm25, loadFlat } from "@lfm/retrieval";
import type { JobContext } from "../program/job.js";
import { openPlain, requireTokenizer, splitDeltas } from "./models.js";

/** What stands beside an index so that it can be searched again. */
export interface IndexManifest {
  readonly kind: "bm25" | "flat";
  /** The encoder of a dense index; folders by their absolute paths. */
  readonly model?: string;
  readonly documents: number;
}

export const indexFiles = { manifest: "index.json", index: "index.safetensors", passages: "passages.jsonl" } as const;

/** An index that `lfm index` wrote. */
export interface OpenedIndex {
  readonly passages: readonly Passage[];
  /** The best k of each text. */
  search(texts: readonly string[], k: number): Promise<readonly (readonly Hit[])[]>;
}

/** @throws {LfmError} FILE_IO for a folder that is no index; as the readers of models */
export async function openIndex(folder: string, engine: Engine, job: JobContext): Promise<OpenedIndex> {
  const path = join(folder, indexFiles.manifest);
  if (!existsSync(path))
    throw new LfmError("FILE_IO", `lfm: ${folder} is no index`, { hint: "lfm index documents.jsonl --out FOLDER makes one" });
  const { kind, model } = JSON.parse(readFileSync(path, "utf8")) as IndexManifest;
  const passages = readFileSync(join(folder, indexFiles.passages), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Passage);
  const file = join(folder, indexFiles.index);
  if (kind === "bm25") {
    const index = loadBm25(file);
    return { passages, search: async (texts, k) => texts.map((text) => index.search(text, k)) };
  }
  const index = loadFlat(file);
  return {
    passages,
    search: async (texts, k) => {
      const encoder = await openEncoder(model!, engine, job);
      const vectors = await encoder.encode(texts, { role: "query" });
      await encoder.dispose();
      return index.search(vectors, k);
    },
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
export async function openEncoder(name: string, engine: Engine, job: JobContext): Promise<OpenedEncoder> {
  const m = await openPlain(name, job);
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
