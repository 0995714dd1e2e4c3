import { rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { LfmError, makeFolder, type Progress, throwIfAborted } from "@lfm/core";
import { gunzipBounded, ioError } from "../files.js";
import { describeDataset } from "./catalogue.js";
import { checkContent } from "./folder.js";
import type { DatasetFile, DatasetManifest, DatasetName } from "./manifest.js";
import { datasetManifest } from "./manifests.js";

const gzipAsync = promisify(gzip);

export interface PullOptions {
  /** Folder that holds one folder per set. Default `~/.cache/lfm/data`. */
  readonly folder?: string;
  /** Default the platform's `fetch`. */
  readonly fetch?: typeof fetch;
  readonly progress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface PullResult {
  readonly name: DatasetName;
  readonly folder: string;
  /** Files that were downloaded now. */
  readonly downloaded: readonly string[];
  /** Files that were there already, with the pinned content. */
  readonly present: readonly string[];
  /** Optional files that no public address is known of. */
  readonly unavailable: readonly string[];
}

/**
 * Downloads what is missing of a set. A file appears under its name only after its content agreed with the pinned hash;
 * a file with other content is replaced. Run again after an interruption: complete files are not fetched twice.
 * @throws {LfmError} CONFIG_INVALID (unknown set), FILE_IO (network, disk, no known address), FILE_FORMAT (wrong content), ABORTED
 */
export async function pullDataset(name: string, options: PullOptions = {}): Promise<PullResult> {
  return pullManifest(datasetManifest(name), options);
}

/** The same for any manifest. @throws {LfmError} FILE_IO, FILE_FORMAT, ABORTED */
export async function pullManifest(manifest: DatasetManifest, options: PullOptions): Promise<PullResult> {
  const { name } = manifest;
  const location = options.folder === undefined ? {} : { folder: options.folder };
  const shown = await describeDataset(manifest, location);
  const { folder } = shown;
  const downloaded: string[] = [];
  const present: string[] = [];
  const unavailable: string[] = [];
  const total = shown.files.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  for (const [i, file] of shown.files.entries()) {
    throwIfAborted(options.signal, `pull ${name}`);
    if (shown.states[i]!.state === "ok") present.push(file.path);
    else if (file.url === null && file.optional) unavailable.push(file.path);
    else {
      await download(file, join(folder, file.path), options);
      downloaded.push(file.path);
    }
    done += file.bytes;
    options.progress?.({ phase: `pull ${name}`, done, total, unit: "bytes" });
  }
  return { name, folder, downloaded, present, unavailable };
}

async function download(file: DatasetFile, target: string, options: PullOptions): Promise<void> {
  if (file.url === null) throw ioError(target, "no public address of this file is known", undefined, "put it there by hand");
  const body = await fetchBytes(file, file.url, options);
  const content = file.path.endsWith(".gz") && file.pack === undefined ? await gunzipBounded(file.url, body) : body;
  checkContent(file.url, file, content);
  const temporary = `${target}.${process.pid}.part`;
  try {
    makeFolder(dirname(target));
    await writeFile(temporary, file.pack === "gzip" ? await gzipAsync(body) : body);
    await rename(temporary, target);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw ioError(target, "cannot be written", cause);
  }
}

/** The body of a response, given up as soon as it is longer than the pinned file can be. */
async function fetchBytes(file: DatasetFile, url: string, options: PullOptions): Promise<Uint8Array> {
  // Packed content may be longer than what is inside only by the gzip frame.
  const limit = file.bytes + 65536;
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    const response = await (options.fetch ?? fetch)(url, options.signal ? { signal: options.signal } : {});
    if (!response.ok || !response.body) throw new LfmError("FILE_IO", `[@lfm/data] ${url}: HTTP ${response.status}`, { details: { url } });
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > limit) throw new LfmError("FILE_FORMAT", `[@lfm/data] ${url}: longer than the pinned file`, { details: { url, limit } });
      chunks.push(chunk);
    }
  } catch (cause) {
    throwIfAborted(options.signal, `pull ${url}`);
    if (cause instanceof LfmError) throw cause;
    throw new LfmError("FILE_IO", `[@lfm/data] ${url}: download failed: ${(cause as Error).message}`, {
      details: { url },
      hint: "check the network, or put the file there by hand",
      cause,
    });
  }
  return Buffer.concat(chunks);
}
