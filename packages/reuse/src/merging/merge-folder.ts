import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { LfmError, makeFolder } from "@lfm/core";
import { type FileLayout, openResultPlace, PARTS } from "@lfm/formats";
import { beginJournal, mendJournal, readJournal } from "./journal.js";
import { difference, mergeIdentity, weightFiles } from "./merge-identity.js";
import { writeError } from "./node-io.js";
import type { MergePlan } from "./plan.js";

export interface MergePlaceOptions {
  /** Folder of the merged model. It appears when everything is written. */
  readonly out: string;
  /** Files that are read besides those of the plan: `out` does not take their place, whatever `overwrite` says. */
  readonly inputs?: readonly string[];
  /** Goes on with what a stopped merge left beside `out`. */
  readonly resume?: boolean;
  /** Replaces a folder that is there. */
  readonly overwrite?: boolean;
  /**
   * Waits until the disk has each tensor before the journal says so, and everything before the folder gets its name: then not even a power
   * cut leaves half a model, and `resume` may go on after one. Default: off.
   */
  readonly sync?: boolean;
  /** What the merge is of, in words of the caller: with `resume` a finished result of the same is taken as it is. Default the plan. */
  readonly of?: string;
  /** Is called when the result has its name: removes what was needed to get there. A merge that was killed then calls it when it is resumed. */
  readonly settle?: () => void;
}

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
 * @throws {LfmError} CONFIG_INVALID when `out` or what stands beside it is taken, FILE_IO (no room, another merge at work there),
 *   PARENT_MISMATCH saying in what the merge that was begun is another
 */
export function openMergeFolder(plan: MergePlan, layouts: ReadonlyMap<string, FileLayout>, options: MergePlaceOptions): MergeFolder {
  const { out, resume = false, overwrite = false, sync = false, of, settle } = options;
  const identity = mergeIdentity(plan, layouts);
  const inputs = [...weightFiles(plan), ...Object.values(plan.copies), ...(options.inputs ?? [])];
  const place = openResultPlace(out, { overwrite, inputs });
  const { partial, lasting: folder } = place;
  const journal = join(partial, PARTS.journal);
  try {
    const before = resume ? readJournal(journal) : undefined;
    if (before) {
      requireSame(partial, difference(before.identity, identity));
      for (const [file, layout] of layouts) requireSame(partial, flawOf(join(folder, file), layout));
      mendJournal(journal);
    } else {
      // The journal first: it must not speak of what is not there.
      for (const rest of [journal, folder]) rmSync(rest, { recursive: true, force: true });
      makeFolder(folder);
      requireRoom(
        folder,
        [...layouts.values()].reduce((n, l) => n + l.size, 0),
      );
      for (const [file, layout] of layouts) createFile(join(folder, file), layout, sync);
      beginJournal(journal, identity);
    }
    return {
      folder,
      journal,
      done: new Set([...(before?.done ?? [])].filter((tensor) => tensor < plan.tensors.length)),
      finish: (texts, copies) => {
        for (const [name, text] of Object.entries(texts)) writing(join(folder, name), (path) => writeFileSync(path, text));
        for (const [name, from] of Object.entries(copies)) writing(join(folder, name), (path) => copyFileSync(from, path));
        place.publish({ sync, from: folder, ...(of === undefined ? {} : { of }), ...(settle ? { settle } : {}) });
      },
      close: () => place.close(),
    };
  } catch (cause) {
    place.close();
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

/** @throws {LfmError} PARENT_MISMATCH saying why what was begun is not gone on with */
function requireSame(folder: string, different: string | undefined): void {
  if (different === undefined) return;
  throw new LfmError("PARENT_MISMATCH", `[@lfm/reuse] ${folder} belongs to another merge: ${different}`, {
    hint: "run again without --resume to start over",
  });
}

/** What is wrong with a file that an earlier run laid out; undefined where length and header are as they were. */
function flawOf(path: string, { head, size }: FileLayout): string | undefined {
  if (!existsSync(path)) return `${path} is gone`;
  const fd = openSync(path, "r");
  try {
    const { size: bytes } = fstatSync(fd);
    if (bytes !== size) return `${path} has ${bytes} bytes, not ${size}`;
    const there = new Uint8Array(head.length);
    for (let at = 0, n = 1; at < head.length && n > 0; at += n) n = readSync(fd, there, at, head.length - at, at);
    return Buffer.compare(there, head) === 0 ? undefined : `the header of ${path} is not the one that was written`;
  } finally {
    closeSync(fd);
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

function createFile(path: string, { head, size }: FileLayout, sync: boolean): void {
  const fd = openSync(path, "w");
  try {
    for (let done = 0; done < head.length; ) done += writeSync(fd, head, done);
    ftruncateSync(fd, size);
    if (sync) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
