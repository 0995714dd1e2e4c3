import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Engine, LfmError } from "@lfm/core";
import { type Hit, isBeirFolder, type Passage, readBeir, readExamples } from "@lfm/data";
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

/**
 * Texts with their ids: documents or queries. Where a file has no ids, lines are counted.
 * @param of which file of a BEIR folder
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export function readPassages(path: string, of: "documents" | "queries"): readonly Passage[] {
  if (!existsSync(path)) throw new LfmError("FILE_IO", `lfm: there is no ${path}`);
  if (statSync(path).isDirectory()) {
    if (!isBeirFolder(path)) throw new LfmError("FILE_FORMAT", `lfm: ${path} is no BEIR folder (corpus.jsonl, queries.jsonl, qrels/)`);
    return readBeir(path)[of];
  }
  if (/\.jsonl$/i.test(path)) {
    return readFileSync(path, "utf8")
      .split("\n")
      .flatMap((line, i) => (line.trim() === "" ? [] : [passageOf(path, i + 1, line)]));
  }
  const examples = readExamples(path);
  if (examples.kind === "completion") throw new LfmError("FILE_FORMAT", `lfm: ${path} has prompts and completions, not ${of}`);
  return examples.rows.map((r, i) => ({ id: String(i + 1), text: r.text }));
}

function passageOf(path: string, line: number, text: string): Passage {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `lfm: ${path}:${line} is not JSON`, { cause });
  }
  const { _id, id = _id, title, text: body } = raw as Readonly<Record<string, unknown>>;
  if (typeof body !== "string") throw new LfmError("FILE_FORMAT", `lfm: ${path}:${line} has no text`);
  return { id: id === undefined ? String(line) : String(id), text: body, ...(typeof title === "string" && title !== "" ? { title } : {}) };
}
