import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { basename, resolve } from "node:path";

/** Something that changes files, about to be done. */
export interface FileOperation {
  readonly kind: "open" | "write" | "append" | "rename" | "remove" | "folder" | "copy" | "length" | "sync";
  /** Below the folder that is watched. */
  readonly path: string;
  /** Does half of it, where there is such a thing: a write that was cut off. */
  half(): void;
}

/** What a process that was killed did not do. */
export class Killed extends Error {}

const plain = { ...fs };

/** Above the largest id that Linux gives to a process. */
const NOBODY = 2 ** 22 + 1;

/**
 * Calls `before` ahead of everything that this thread changes below `root` until `work` is over; what it throws is what the file system
 * says, and nothing is done then. Reading is left alone.
 */
export async function watchFiles<T>(root: string, before: (operation: FileOperation) => void, work: () => Promise<T>): Promise<T> {
  const open = new Map<number, string>();
  const ask = (kind: FileOperation["kind"], path: fs.PathLike, half: () => void = () => {}): void => {
    const whole = resolve(String(path));
    if (whole.startsWith(root)) before({ kind, path: whole.slice(root.length), half });
  };
  const opened = (fd: number, kind: FileOperation["kind"], half?: () => void): void => {
    const path = open.get(fd);
    if (path !== undefined) ask(kind, path, half);
  };
  const bytesOf = (data: unknown): Buffer => (typeof data === "string" ? Buffer.from(data) : Buffer.from(data as Uint8Array));
  const patches = {
    openSync: (path: fs.PathLike, flags: fs.OpenMode = "r", mode?: fs.Mode): number => {
      const writes = /[wax+]/.test(String(flags));
      if (writes) ask("open", path);
      const fd = plain.openSync(path, flags, mode);
      if (writes) open.set(fd, String(path));
      else open.delete(fd);
      return fd;
    },
    writeSync: (fd: number, data: Uint8Array, from = 0, length = data.length - from, position: number | null = null): number => {
      opened(fd, "write", () => void plain.writeSync(fd, data, from, length >> 1, position));
      return plain.writeSync(fd, data, from, length, position);
    },
    writeFileSync: (path: fs.PathLike, data: string | Uint8Array, options?: fs.WriteFileOptions): void => {
      ask("write", path, () => plain.writeFileSync(path, bytesOf(data).subarray(0, bytesOf(data).length >> 1)));
      plain.writeFileSync(path, data, options);
    },
    appendFileSync: (path: fs.PathLike, data: string | Uint8Array): void => {
      ask("append", path, () => plain.appendFileSync(path, bytesOf(data).subarray(0, bytesOf(data).length >> 1)));
      plain.appendFileSync(path, data);
    },
    copyFileSync: (from: fs.PathLike, to: fs.PathLike, mode?: number): void => {
      ask("copy", to, () => plain.writeFileSync(to, plain.readFileSync(from).subarray(0, plain.statSync(from).size >> 1)));
      plain.copyFileSync(from, to, mode);
    },
    renameSync: (from: fs.PathLike, to: fs.PathLike): void => {
      ask("rename", to);
      plain.renameSync(from, to);
    },
    rmSync: (path: fs.PathLike, options?: fs.RmOptions): void => {
      ask("remove", path);
      plain.rmSync(path, options);
    },
    rmdirSync: (path: fs.PathLike): void => {
      ask("remove", path);
      plain.rmdirSync(path);
    },
    unlinkSync: (path: fs.PathLike): void => {
      ask("remove", path);
      plain.unlinkSync(path);
    },
    mkdirSync: (path: fs.PathLike, options?: fs.MakeDirectoryOptions): string | undefined => {
      ask("folder", path);
      return plain.mkdirSync(path, options);
    },
    truncateSync: (path: fs.PathLike, length?: number): void => {
      ask("length", path);
      plain.truncateSync(path, length);
    },
    ftruncateSync: (fd: number, length?: number): void => {
      opened(fd, "length");
      plain.ftruncateSync(fd, length);
    },
    fsyncSync: (fd: number): void => {
      opened(fd, "sync");
      plain.fsyncSync(fd);
    },
  };
  Object.assign(fs, patches);
  syncBuiltinESMExports();
  try {
    return await work();
  } finally {
    for (const name of Object.keys(patches) as (keyof typeof patches)[]) Object.assign(fs, { [name]: plain[name] });
    syncBuiltinESMExports();
  }
}

/** Runs `work` in a process that is killed at its n-th change of a file, before it or in the middle of it. @returns what it was killed in */
export async function killedAt(
  root: string,
  n: number,
  where: "before" | "inside",
  work: () => Promise<unknown>,
): Promise<FileOperation | undefined> {
  let [count, last]: [number, FileOperation | undefined] = [0, undefined];
  const outcome = watchFiles(
    root,
    (operation) => {
      // A process that is gone cleans nothing up.
      if (last) throw new Killed();
      if (++count < n) return;
      last = operation;
      if (where === "inside") operation.half();
      throw new Killed();
    },
    work,
  );
  await outcome.catch((error: unknown) => {
    if (!last) throw error;
  });
  // Locks and temporary files of a process that is gone count for nothing; this one is still there, so that they are given to none.
  for (const path of plain.readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => resolve(root, name))) {
    if (basename(path) === ".lock") plain.rmSync(path);
    else if (path.endsWith(".tmp")) plain.renameSync(path, path.replace(`.${process.pid}.`, `.${NOBODY}.`));
  }
  return last;
}
