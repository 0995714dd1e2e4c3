import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join, resolve } from "node:path";

/** Something that changes files, about to be done. */
export interface FileOperation {
  readonly kind: "open" | "write" | "append" | "rename" | "link" | "remove" | "folder" | "copy" | "length" | "sync";
  /** Below the folder that is watched. */
  readonly path: string;
  /** Does half of it: a write that was cut off, a folder that is removed in part. Absent where there is no such thing. */
  half?(): void;
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
  const ask = (kind: FileOperation["kind"], path: fs.PathLike, half?: () => void): void => {
    const whole = resolve(String(path));
    if (whole.startsWith(root)) before({ kind, path: whole.slice(root.length), ...(half ? { half } : {}) });
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
      ask("rename", resolve(String(to)).startsWith(root) ? to : from);
      plain.renameSync(from, to);
    },
    linkSync: (from: fs.PathLike, to: fs.PathLike): void => {
      ask("link", to);
      plain.linkSync(from, to);
    },
    rmSync: (path: fs.PathLike, options?: fs.RmOptions): void => {
      const names = plain.existsSync(path) && plain.statSync(path).isDirectory() ? plain.readdirSync(path) : [];
      const some = names.slice(0, Math.ceil(names.length / 2)).map((name) => join(String(path), name));
      ask("remove", path, some.length > 0 ? () => some.forEach((part) => void plain.rmSync(part, { recursive: true })) : undefined);
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
      if (where === "inside") operation.half?.();
      throw new Killed();
    },
    work,
  );
  await outcome.catch((error: unknown) => {
    if (!last) throw error;
  });
  leaveToNobody(root);
  return last;
}

/** Locks and temporary files below a folder name this process, which lives on: they get the number of one that does not. */
function leaveToNobody(folder: string): void {
  for (const entry of plain.readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) leaveToNobody(path);
    else if (entry.name.endsWith(".tmp")) plain.renameSync(path, path.replace(`.${process.pid}.`, `.${NOBODY}.`));
    else if (entry.name === ".lock")
      plain.writeFileSync(path, plain.readFileSync(path, "utf8").replace(`"pid":${process.pid},`, `"pid":${NOBODY},`));
  }
}

/** Where a run ends: its operation number, from 1, and whether half of that is done. */
export interface Crash {
  readonly at: number;
  readonly half: boolean;
}

/** What a run did to files. */
export interface Simulated<T> {
  /** `kind path` of each operation, in order; of a run that crashed up to the crash. Temporary names are told apart by nothing. */
  readonly operations: readonly string[];
  /** Every way to crash a run like this one: before each operation, and halfway through those that can be. */
  readonly crashes: readonly Crash[];
  readonly crashed: boolean;
  /** What it handed back, unless it crashed or failed. */
  readonly value?: T;
  /** What it failed with by itself. */
  readonly error?: unknown;
}

/**
 * Runs `work` as a process that ends at an operation on files whose paths begin with `root`: it does not happen, or half of it does, and none
 * after it. Without `crash` operations are only counted.
 */
export async function simulate<T>(root: string, crash: Crash | undefined, work: () => Promise<T> | T): Promise<Simulated<T>> {
  const operations: string[] = [];
  const crashes: Crash[] = [];
  let dead = false;
  const before = ({ kind, path, half }: FileOperation): void => {
    if (dead) throw new Killed();
    const at = operations.push(`${kind} ${path.replaceAll(/\.\d+\.[0-9a-f]{8}\.tmp/g, ".tmp")}`);
    crashes.push({ at, half: false }, ...(half ? [{ at, half: true }] : []));
    if (at !== crash?.at) return;
    if (crash.half) half?.();
    dead = true;
    throw new Killed();
  };
  let end: Pick<Simulated<T>, "value" | "error"> = {};
  try {
    end = { value: await watchFiles(root, before, async () => work()) };
  } catch (error) {
    end = { error };
  }
  if (dead) leaveToNobody(resolve(root, ".."));
  return { operations, crashes, crashed: dead, ...(dead ? {} : end) };
}

/** Path → content of every file under a folder, for comparison. */
export function contentOf(folder: string): Readonly<Record<string, string>> {
  if (!plain.existsSync(folder)) return {};
  const entries = plain.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), plain.readFileSync(path).toString("latin1")]));
}
