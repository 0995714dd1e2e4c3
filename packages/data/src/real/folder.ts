import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { formatError, gunzipBounded, ioError, isMissing, readBytes } from "../files.js";
import type { DatasetFile, DatasetName } from "./manifest.js";
import { datasetManifest } from "./manifests.js";

/** Where sets lie. */
export interface DatasetLocation {
  /** Folder that holds one folder per set (what `LFM_DATA` names). Default {@link defaultDataFolder}. */
  readonly folder?: string;
}

/** Where `pullDataset` puts sets when no folder is named: `~/.cache/lfm/data`. */
export function defaultDataFolder(): string {
  return join(homedir(), ".cache", "lfm", "data");
}

/** The path of a set's folder; nothing is checked. */
export function datasetFolder(name: DatasetName, location: DatasetLocation = {}): string {
  return join(location.folder ?? defaultDataFolder(), name);
}

/** The content of one pinned file, compared with its hash. `.gz` files come unpacked. */
export interface VerifiedFile {
  /** Path on disk, for error messages. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * Reads one file of a set and compares its content with the pinned hash.
 * @throws {LfmError} FILE_IO when it is missing (the hint says how to get it), FILE_FORMAT when size or hash differ
 */
export async function readPinned(name: DatasetName, path: string, location: DatasetLocation = {}): Promise<VerifiedFile> {
  const file = datasetManifest(name).files.find((f) => f.path === path);
  if (!file) throw new LfmError("INTERNAL", `[@lfm/data] the manifest of ${name} has no file "${path}"`);
  return readFileOf(name, file, location);
}

/** The same for a file that need not stand in a known manifest. @throws {LfmError} FILE_IO, FILE_FORMAT */
export async function readFileOf(name: DatasetName, file: DatasetFile, location: DatasetLocation): Promise<VerifiedFile> {
  const { path } = file;
  const full = join(datasetFolder(name, location), ...path.split("/"));
  let stored: Uint8Array;
  try {
    stored = await readBytes(full);
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    throw ioError(full, `not found: this file belongs to the set ${name}`, (cause as Error).cause, hintFor(name, file));
  }
  const bytes = path.endsWith(".gz") ? await gunzipBounded(full, stored) : stored;
  checkContent(full, file, bytes);
  return { path: full, bytes };
}

/**
 * The same as text.
 * @param utf8 "strict" (default) refuses bytes that are not UTF-8; "replace" puts U+FFFD in their place
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export async function readPinnedText(
  name: DatasetName,
  path: string,
  location: DatasetLocation = {},
  utf8: "strict" | "replace" = "strict",
): Promise<{ readonly path: string; readonly text: string }> {
  const file = await readPinned(name, path, location);
  try {
    return { path: file.path, text: new TextDecoder("utf-8", { fatal: utf8 === "strict" }).decode(file.bytes) };
  } catch (cause) {
    throw formatError(file.path, "not valid UTF-8", { cause });
  }
}

/** @throws {LfmError} FILE_FORMAT naming the file when length or sha256 differ from the manifest's */
export function checkContent(full: string, file: DatasetFile, content: Uint8Array): void {
  if (content.length !== file.bytes) {
    throw formatError(full, `${content.length} bytes of content where the pinned revision has ${file.bytes}`);
  }
  const found = createHash("sha256").update(content).digest("hex");
  if (found !== file.sha256) throw formatError(full, `sha256 ${found} where the pinned revision has ${file.sha256}`);
}

function hintFor(name: DatasetName, file: DatasetFile): string {
  const set = `set LFM_DATA to the folder that holds ${name}/`;
  return file.url === null ? `${set}; no public address of this file is known` : `${set}, or download it: lfm data pull ${name}`;
}
