import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import type { ByteReader, ByteWriter, MergeIo } from "./io.js";

/** Files of the file system; what is written goes into `folder`, into files that exist already. @throws {LfmError} FILE_IO naming the file */
export function nodeIo(folder: string): MergeIo {
  const open = new Map<string, number>();
  const handle = (path: string, flags: string): number => {
    let fd = open.get(path);
    if (fd === undefined) {
      try {
        fd = openSync(path, flags);
      } catch (cause) {
        throw new LfmError("FILE_IO", `[@lfm/reuse] cannot open ${path}: ${codeOf(cause)}`, { cause });
      }
      open.set(path, fd);
    }
    return fd;
  };
  return {
    reader: (file) => reader(handle(file, "r"), file),
    writer: (file) => writer(handle(join(folder, file), "r+"), join(folder, file)),
    close: () => {
      for (const fd of open.values()) closeSync(fd);
      open.clear();
    },
  };
}

function reader(fd: number, path: string): ByteReader {
  return {
    read: (into, position) => {
      for (let done = 0; done < into.length; ) {
        let n: number;
        try {
          n = readSync(fd, into, done, into.length - done, position + done);
        } catch (cause) {
          throw new LfmError("FILE_IO", `[@lfm/reuse] cannot read ${path}: ${codeOf(cause)}`, { cause });
        }
        if (n === 0) throw new LfmError("FILE_IO", `[@lfm/reuse] ${path} ends at byte ${position + done}: it changed while it was read`);
        done += n;
      }
    },
  };
}

function writer(fd: number, path: string): ByteWriter {
  return {
    write: (from, position) => {
      try {
        for (let done = 0; done < from.length; ) done += writeSync(fd, from, done, from.length - done, position + done);
      } catch (cause) {
        throw writeError(path, cause);
      }
    },
    sync: () => {
      try {
        fsyncSync(fd);
      } catch (cause) {
        throw writeError(path, cause);
      }
    },
  };
}

export function writeError(path: string, cause: unknown): LfmError {
  const code = codeOf(cause);
  return new LfmError("FILE_IO", `[@lfm/reuse] cannot write ${path}: ${code}`, {
    cause,
    ...(code === "ENOSPC" ? { hint: "the disk is full: make room and go on with --resume" } : {}),
  });
}

function codeOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? String(cause);
}
