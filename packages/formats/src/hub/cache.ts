import { createHash } from "node:crypto";
import { copyFileSync, createReadStream, existsSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { downloadFile, type ListFileEntry } from "@huggingface/hub";
import { LfmError, makeFolder } from "@lfm/core";
import { pathFlaw } from "../names.js";

/** A repository in a cache of the hub's layout: blobs/HASH, snapshots/COMMIT/PATH → blob, refs/BRANCH. */
export interface CachedRepo {
  readonly repo: string;
  readonly storage: string;
}

interface Access {
  readonly hubUrl?: string;
  readonly accessToken?: string;
  readonly fetch: typeof fetch;
}

/** Names come from the repository and are joined onto the cache folder. @throws {LfmError} FILE_FORMAT for one that would leave it, or cannot be */
export function checkRepoPath(path: string): void {
  const flaw = pathFlaw(path);
  if (flaw !== undefined) throw new LfmError("FILE_FORMAT", `[@lfm/formats] the repository lists a file "${path}", which ${flaw}`);
}

/** Remembers which commit a branch or tag stood for. */
export function recordRef({ storage }: CachedRepo, revision: string, sha: string): void {
  if (revision === sha) return;
  const path = join(storage, "refs", revision);
  makeFolder(dirname(path));
  writeFileSync(path, sha);
}

/**
 * Brings one file into the cache. A blob that is there is only linked; a part of one goes on where it stopped.
 * @param report is told the bytes that are there
 * @throws {LfmError} FILE_IO when size or hash are not what the hub lists
 */
export async function cacheFile(
  repo: CachedRepo,
  sha: string,
  file: ListFileEntry,
  access: Access,
  report: (bytes: number) => void,
): Promise<void> {
  const link = join(repo.storage, "snapshots", sha, file.path);
  if (existsSync(link)) return;
  const hash = file.lfs?.oid ?? file.oid;
  if (!hash || !/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(hash))
    throw new LfmError("FILE_IO", `[@lfm/formats] the hub gives no hash of ${file.path}`);
  const blob = join(repo.storage, "blobs", hash);
  makeFolder(dirname(blob));
  makeFolder(dirname(link));
  if (!existsSync(blob)) {
    const partial = `${blob}.incomplete`;
    await download(repo, sha, file, access, partial, report);
    await verify(partial, file, hash);
    renameSync(partial, blob);
  }
  rmSync(link, { force: true });
  try {
    symlinkSync(relative(dirname(link), blob), link);
  } catch {
    // File systems without links, and Windows without the right to make them.
    copyFileSync(blob, link);
  }
}

async function download(
  { repo }: CachedRepo,
  revision: string,
  file: ListFileEntry,
  access: Access,
  partial: string,
  report: (bytes: number) => void,
): Promise<void> {
  let at = existsSync(partial) ? statSync(partial).size : 0;
  if (at > file.size) {
    rmSync(partial);
    at = 0;
  }
  if (at === file.size && at > 0) return;
  const content = await downloadFile({ repo, revision, path: file.path, ...access });
  if (!content) throw new LfmError("FILE_IO", `[@lfm/formats] ${repo} lists ${file.path} but does not give it`);
  const out = await open(partial, "a");
  try {
    const rest = at > 0 ? content.slice(at) : content;
    for await (const chunk of rest.stream() as unknown as AsyncIterable<Uint8Array>) {
      await out.writeFile(chunk);
      at += chunk.byteLength;
      report(Math.min(at, file.size));
    }
  } finally {
    await out.close();
  }
}

/** LFS files are named by sha256 of their content, others by git's sha1 of a blob. */
async function verify(path: string, file: ListFileEntry, expected: string): Promise<void> {
  const { size } = statSync(path);
  const hash = file.lfs ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
  if (size < file.size)
    throw new LfmError("FILE_IO", `[@lfm/formats] ${file.path} was cut off at ${size} of ${file.size} bytes`, {
      hint: "pull again: it goes on there",
    });
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const found = hash.digest("hex");
  if (size === file.size && found === expected) return;
  rmSync(path);
  throw new LfmError(
    "FILE_IO",
    `[@lfm/formats] ${file.path} is damaged: ${size} bytes, hash ${found}, the hub lists ${file.size} bytes, ${expected}`,
    {
      hint: "pull again",
    },
  );
}
