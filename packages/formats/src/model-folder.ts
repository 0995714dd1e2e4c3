import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError, makeFolder } from "@lfm/core";
import { readJsonObject } from "./json-file.js";
import { TOKENIZER_FILES } from "./result-names.js";
import { readWeights, type StoredWeights } from "./safetensors/sharded.js";

/** What a Hugging Face folder holds. */
export interface ModelFolder extends StoredWeights {
  /** config.json as it stands. */
  readonly config: Readonly<Record<string, unknown>>;
  /** generation_config.json, where there is one: end tokens and sampling defaults. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** Names of the tokenizer's files that are there. */
  readonly tokenizerFiles: readonly string[];
}

/**
 * Opens a Hugging Face folder: configs and the headers of its weights; no tensor is read.
 * @throws {LfmError} FILE_IO without config.json, FILE_FORMAT for a broken file or a folder with pickled weights only
 */
export function readModelFolder(folder: string): ModelFolder {
  const config = readJsonObject(join(folder, "config.json"));
  const generation = join(folder, "generation_config.json");
  return {
    ...readWeights(folder),
    config,
    ...(existsSync(generation) ? { generationConfig: readJsonObject(generation) } : {}),
    tokenizerFiles: tokenizerFilesIn(folder),
  };
}

/** Names of the tokenizer's files that lie in a folder. */
export function tokenizerFilesIn(folder: string): readonly string[] {
  return TOKENIZER_FILES.filter((name) => existsSync(join(folder, name)));
}

/**
 * Copies the tokenizer of a folder beside a model that was made of it.
 * @returns the names of the files
 * @throws {LfmError} FILE_IO
 */
export function copyTokenizer(from: string, to: string): readonly string[] {
  const names = tokenizerFilesIn(from);
  try {
    makeFolder(to);
    for (const name of names) copyFileSync(join(from, name), join(to, name));
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot copy the tokenizer of ${from} to ${to}`, { cause });
  }
  return names;
}
