import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Engine, LfmError } from "@lfm/core";
import type { Hit, Passage } from "@lfm/data";
import { createEncoder, type Encoder } from "@lfm/models";
import { loadBm25, loadFlat } from "@lfm/retrieval";
import type { JobContext } from "../program/job.js";
import { openPlain, requireTokenizer } from "./models.js";

/** What stands beside an index so that it can be searched again. */
export interface IndexManifest {
  readonly kind: "bm25" | "flat";
  /** The encoder of a dense index. */
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
      const vectors = await encoder.encode(texts);
      await encoder.dispose();
      return index.search(vectors, k);
    },
  };
}

/** A sentence encoder of unit vectors. */
export async function openEncoder(name: string, engine: Engine, job: JobContext): Promise<Encoder> {
  const m = await openPlain(name, job);
  return createEncoder(engine, m.model, requireTokenizer(m), { normalize: true });
}
