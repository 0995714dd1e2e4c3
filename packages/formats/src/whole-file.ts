import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { LfmError, makeFolder } from "@lfm/core";
import { isAlive } from "./processes.js";

/** Name, process and eight digits drawn at random: no two writers have one. */
const TEMPORARY = /^(.+)\.(\d+)\.[0-9a-f]{8}\.tmp$/;

/** A name beside the final one that no other writer uses. */
export function temporaryName(path: string): string {
  return `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
}

/**
 * Removes what writers that are dead left half written in a folder.
 * @param of the name that they wrote; default any
 */
export function clearAbandoned(folder: string, of?: string): void {
  for (const name of readdirSync(folder)) {
    const [, written, pid] = TEMPORARY.exec(name) ?? [];
    if (written === undefined || (of !== undefined && written !== of) || isAlive(Number(pid))) continue;
    rmSync(join(folder, name), { force: true });
  }
}

/**
 * Writes a file from front to back so that its name never stands for half of it, not even after a power cut: beside the place, onto the disk,
 * then renamed. Folders on the way are made; what a killed writer of the same file left is removed.
 * @param write gets a function that puts bytes behind those before
 * @throws {LfmError} FILE_IO with nothing left behind
 */
export async function writeWholeFile(path: string, write: (put: (bytes: Uint8Array) => void) => Promise<void>): Promise<void> {
  const file = openWhole(path);
  try {
    await write(file.put);
    file.finish();
  } catch (cause) {
    throw file.discard(cause);
  }
}

/**
 * Writes a text as {@link writeWholeFile} does.
 * @throws {LfmError} FILE_IO with nothing left behind
 */
export function writeTextFile(path: string, text: string): void {
  const file = openWhole(path);
  try {
    file.put(Buffer.from(text));
    file.finish();
  } catch (cause) {
    throw file.discard(cause);
  }
}

interface WholeFile {
  put(bytes: Uint8Array): void;
  /** Gives it its name. */
  finish(): void;
  /** Leaves nothing behind. @returns what to throw */
  discard(cause: unknown): Error;
}

function openWhole(path: string): WholeFile {
  const temporary = temporaryName(path);
  let fd: number | undefined;
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  try {
    makeFolder(dirname(path));
    clearAbandoned(dirname(path), basename(path));
    fd = openSync(temporary, "wx");
  } catch (cause) {
    throw writeError(path, cause);
  }
  const open = fd;
  return {
    put: (bytes) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(open, bytes, done, Math.min(bytes.length - done, 1 << 30));
    },
    finish: () => {
      fsyncSync(open);
      close();
      renameSync(temporary, path);
      syncPath(dirname(path));
    },
    discard: (cause) => {
      close();
      rmSync(temporary, { force: true });
      return writeError(path, cause);
    },
  };
}

/** Brings a file, or the names in a folder, onto the disk; systems that cannot open folders do so on their own. */
export function syncPath(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    if (process.platform === "win32") return;
    throw cause;
  }
  try {
    fsyncSync(fd);
  } catch (cause) {
    // EINVAL: file systems that know no such thing for folders.
    if (process.platform !== "win32" && codeOf(cause) !== "EINVAL") throw cause;
  } finally {
    closeSync(fd);
  }
}

/** What the file system says against writing, as an error that names the place; any other error as it is. */
export function writeError(path: string, cause: unknown): Error {
  if (cause instanceof Error && !("syscall" in cause)) return cause;
  const code = codeOf(cause);
  const hint = hints[code];
  return new LfmError("FILE_IO", `[@lfm/formats] cannot write ${path}: ${code}`, { cause, ...(hint ? { hint } : {}) });
}

const elsewhere = "choose a place that can be written: --out lfm-out/result";
const hints: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; nothing was left behind",
  EDQUOT: "your share of the disk is used up; nothing was left behind",
  EACCES: elsewhere,
  EPERM: elsewhere,
  EROFS: elsewhere,
  ENOENT: elsewhere,
  ENOTDIR: "a file stands where a folder is needed: choose another place",
  EEXIST: "a file stands where a folder is needed: choose another place",
  ENAMETOOLONG: "choose a shorter name",
};

export function codeOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? String(cause);
}
