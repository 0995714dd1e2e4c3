import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { LfmError, makeFolder } from "@lfm/core";

let temporaries = 0;

/** A name beside the final one that no other writer uses. */
function temporaryName(path: string): string {
  return `${path}.${process.pid}.${++temporaries}.tmp`;
}

/**
 * Writes a file from front to back. It appears under its name only when it is whole and on the disk.
 * @param write gets a function that puts bytes behind those before
 * @throws {LfmError} FILE_IO with nothing left behind
 */
export async function writeWholeFile(path: string, write: (put: (bytes: Uint8Array) => void) => Promise<void>): Promise<void> {
  const temporary = temporaryName(path);
  let begun = false;
  try {
    makeFolder(dirname(path));
    const fd = openSync(temporary, "wx");
    begun = true;
    try {
      await write((bytes) => writeAll(fd, bytes));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (cause) {
    if (begun) rmSync(temporary, { force: true });
    if (cause instanceof LfmError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot write ${path}: ${code ?? String(cause)}`, {
      cause,
      ...(code === "ENOSPC" ? { hint: "the disk is full; nothing was left behind" } : {}),
    });
  }
}

/** A new name is safe only when its folder is on the disk; systems that cannot open folders do so on their own. */
function syncFolder(folder: string): void {
  let fd: number;
  try {
    fd = openSync(folder, "r");
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } catch (cause) {
    if (process.platform !== "win32") throw cause;
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, Math.min(bytes.length - done, 1 << 30));
}
