import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { LfmError } from "@lfm/core";
import { type FileLayout, replaceFolder, requireFree } from "@lfm/formats";
import { hashPlan, openJournal, weightFiles } from "./journal.js";
import { writeError } from "./node-io.js";
import type { MergePlan } from "./plan.js";

/** The folder a merge writes into: beside the final one until everything is there. */
export interface MergeFolder {
  readonly folder: string;
  readonly journal: string;
  /** Tensors that an earlier run wrote. */
  readonly done: ReadonlySet<number>;
  /** Adds the other files and gives the folder its name. */
  finish(texts: Readonly<Record<string, string>>, copies: Readonly<Record<string, string>>): void;
  /** Lets go of the folder, finished or not. */
  close(): void;
}

/**
 * Makes the files with their headers, at full length, or takes those of a stopped merge.
 * @throws {LfmError} CONFIG_INVALID when `out` is taken, FILE_IO (no room, another merge at work there), PARENT_MISMATCH
 */
export function openMergeFolder(
  plan: MergePlan,
  layouts: ReadonlyMap<string, FileLayout>,
  options: { readonly out: string; readonly resume?: boolean; readonly overwrite?: boolean; readonly sync?: boolean },
): MergeFolder {
  const { out, resume = false, overwrite = false, sync = false } = options;
  const final = resolve(out);
  requireFree(out, { overwrite, inputs: [...weightFiles(plan), ...Object.values(plan.copies)] });
  const folder = `${final}.partial`;
  const [journal, lock] = [join(folder, ".journal"), join(folder, ".lock")];
  const hash = hashPlan(
    plan,
    [...layouts.values()].map((l) => l.size),
  );
  const held = existsSync(lock) ? Number(readFileSync(lock, "utf8")) : 0;
  if (held !== 0 && held !== process.pid && isAlive(held))
    throw new LfmError("FILE_IO", `[@lfm/reuse] process ${held} is merging into ${out}`, { hint: "wait for it, or choose another folder" });
  const goesOn = resume && existsSync(journal);
  try {
    if (!goesOn) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      requireRoom(
        folder,
        [...layouts.values()].reduce((n, l) => n + l.size, 0),
      );
    }
    writeFileSync(lock, String(process.pid));
    const { done } = openJournal(journal, hash, goesOn);
    if (!goesOn) for (const [file, layout] of layouts) createFile(join(folder, file), layout);
    return {
      folder,
      journal,
      done,
      finish: (texts, copies) => {
        for (const [name, text] of Object.entries(texts)) writing(join(folder, name), (path) => writeFileSync(path, text));
        for (const [name, from] of Object.entries(copies)) writing(join(folder, name), (path) => copyFileSync(from, path));
        if (sync) for (const name of layouts.keys()) syncFile(join(folder, name));
        rmSync(journal);
        rmSync(lock);
        replaceFolder(folder, final);
      },
      close: () => rmSync(lock, { force: true }),
    };
  } catch (cause) {
    if (cause instanceof LfmError) throw cause;
    throw writeError(folder, cause);
  }
}

function writing(path: string, work: (path: string) => void): void {
  try {
    work(path);
  } catch (cause) {
    throw writeError(path, cause);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}

function requireRoom(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= bytes) return;
  rmSync(folder, { recursive: true, force: true });
  const gb = (n: number): string => (n / 1e9).toFixed(2);
  throw new LfmError("FILE_IO", `[@lfm/reuse] the result has ${gb(bytes)} GB, the disk has ${gb(bavail * bsize)} GB left`, {
    hint: "choose a folder on another disk, or out_dtype: bfloat16",
  });
}

function createFile(path: string, { head, size }: FileLayout): void {
  const fd = openSync(path, "w");
  try {
    for (let done = 0; done < head.length; ) done += writeSync(fd, head, done);
    ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}

function syncFile(path: string): void {
  const fd = openSync(path, "r+");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
