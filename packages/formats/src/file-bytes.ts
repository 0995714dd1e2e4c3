import { openSync, readSync } from "node:fs";
import { LfmError } from "@lfm/core";

/** Bytes that are read by position, whatever holds them. */
export interface ByteSource {
  readonly size: number;
  /** Fills `into` from `position` on, or throws. */
  read(into: Uint8Array, position: number): void;
}

/** @returns a descriptor @throws {LfmError} FILE_IO */
export function openForReading(file: string): number {
  try {
    return openSync(file, "r");
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${file}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, {
      cause,
    });
  }
}

/** Fills `into` from `position` on. @throws {LfmError} FILE_IO when the file ends before, or cannot be read */
export function readExactly(fd: number, into: Uint8Array, position: number, what: string): void {
  let done = 0;
  while (done < into.length) {
    let n: number;
    try {
      n = readSync(fd, into, done, Math.min(into.length - done, 1 << 30), position + done);
    } catch (cause) {
      throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${what}`, { cause });
    }
    if (n === 0)
      throw new LfmError("FILE_IO", `[@lfm/formats] ${what} ends ${into.length - done} bytes early: the file changed while it was read`);
    done += n;
  }
}
