import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LfmError, makeFolder } from "@lfm/core";
import { type FolderLock, LOCK, lockFolder } from "./folder-lock.js";
import { foreignEntry } from "./result-names.js";
import { clearAbandoned, codeOf, syncPath, writeError } from "./whole-file.js";

export interface OutputPlace {
  /** Replaces a result that is there. */
  readonly overwrite: boolean;
  /** Files and folders that are read; names that are neither may be among them. */
  readonly inputs: readonly string[];
  /** For a result that is one file: whether a file that is there is such a result, and may be replaced. Default: the result is a folder. */
  readonly isResult?: (file: string) => boolean;
}

/**
 * The place of a result while it is made. Everything lies in `OUT.partial`, which this process alone has, until all of it is there; then it
 * gets its name. Whenever the process ends, under the name stands the whole result of before or the whole new one, or the next run puts it
 * there.
 */
export interface ResultPlace {
  /** `OUT.partial`. What a run that was stopped saved of itself lies there: {@link PARTS}. */
  readonly partial: string;
  /** Where the result is written, a folder or a file; nothing is there at first. */
  readonly result: string;
  /** Where a result is written that is gone on with: what lies there stays when the place is closed before it is published. */
  readonly lasting: string;
  /**
   * Gives what lies in `result` the final name, in place of a result of before, and removes `partial` with all that was saved in it.
   * @param options.sync false: does not wait until the disk has all of it. Default true
   * @param options.from where the result lies: `result`, the default, or `lasting`
   * @param options.of what was asked for: until the place is closed {@link takeFinished} knows the result by it
   * @param options.settle is called when the result has its name: removes what was needed to get there
   * @throws {LfmError} FILE_IO; the result then lies beside its place, under the name that the message gives
   */
  publish(options?: { readonly sync?: boolean; readonly from?: string; readonly of?: string; readonly settle?: () => void }): void;
  /** Lets go of the place, finished or not: removes what is not worth to go on from. */
  close(): void;
}

/** What may lie in the folder of a result on its way. */
export const PARTS = {
  lock: LOCK,
  /** The result, as far as it is written. */
  result: "result",
  /** The result with all of it on the disk: from here on it only has to take its place. */
  finished: "finished",
  /** The result of before, while the new one takes its place. */
  replaced: "replaced",
  /** What learned so far. */
  checkpoint: "checkpoint",
  /** A merge, as far as its journal says. */
  merge: "merge",
  /** What a merge has finished. */
  journal: ".journal",
} as const;

/**
 * Refuses a place for a result where something would be lost: one that is taken, and with `overwrite` one that is read from, or that holds
 * anything which no result would hold. An empty folder is free.
 * @throws {LfmError} CONFIG_INVALID
 */
export function requireFree(out: string, { overwrite, inputs, isResult }: OutputPlace): void {
  if (!isThere(out)) return;
  const refuse = (message: string, hint: string): LfmError => new LfmError("CONFIG_INVALID", `[@lfm/formats] ${out} ${message}`, { hint });
  if (!existsSync(out)) throw refuse("is a link to nothing", "choose another place, or remove the link");
  const folder = statSync(out).isDirectory();
  if (isResult && folder) throw refuse("is a folder, and the result is one file", `--out ${join(out, "result")}`);
  if (folder && readdirSync(out).length === 0) return;
  if (!overwrite) throw refuse("is there already", "choose another place, or --overwrite");
  const place = realpathSync(out);
  const read = inputs.find((name) => existsSync(name) && `${realpathSync(name)}/`.startsWith(`${place}/`));
  if (read !== undefined) throw refuse(`cannot be replaced: ${read} is read from there`, "choose another place");
  if (isResult) {
    if (isResult(out)) return;
    throw refuse("holds no such result: it is not replaced", "choose another place, or remove it yourself");
  }
  const foreign = folder ? foreignEntry(out) : "";
  if (foreign === undefined) return;
  throw refuse(
    foreign === "" ? "holds no model and no adapter: it is not replaced" : `holds ${foreign}, which no result would: it is not replaced`,
    "choose another place, or remove it yourself",
  );
}

/**
 * Opens the place of a result, before any work: it must be free and can be written, and nobody else writes there. What a run that was killed
 * there left half done is brought in order first: a result that was whole takes its place, what was half written goes.
 * @param out its name; through a link, that of what the link leads to
 * @throws {LfmError} CONFIG_INVALID (see {@link requireFree}; a foreign `OUT.partial`), FILE_IO (not writable, or another process is at it)
 */
export function openResultPlace(out: string, place: OutputPlace): ResultPlace {
  const final = existsSync(out) ? realpathSync(out) : resolve(out);
  const partial = `${final}.partial`;
  const parts = partsOf(partial);
  const record = recordOf(final);
  // Nothing is made where the place is refused.
  if (!isThere(partial)) requireFree(out, place);
  requireOwnDevice(final);
  requireParts(partial);
  const { made, lock } = takeFolder(partial, out);
  let published = false;
  const letGo = (): void => {
    lock.release();
    removeEmpty(partial);
    if (!published && made !== undefined) for (let at = dirname(partial); at.startsWith(made) && removeEmpty(at); ) at = dirname(at);
  };
  try {
    recover(final, parts);
    requireFree(out, place);
    rmSync(record, { force: true });
  } catch (cause) {
    letGo();
    throw writeError(partial, cause);
  }
  return {
    partial,
    result: parts.result,
    lasting: parts.merge,
    close: () => {
      rmSync(parts.result, { recursive: true, force: true });
      letGo();
      // The last of all: up to here a run that is killed can be told to have finished.
      if (published) rmSync(record, { force: true });
    },
    publish: ({ sync = true, from = parts.result, of, settle } = {}) => {
      try {
        if (sync) syncAll(from);
        if (of !== undefined) writeFileSync(record, textOfRecord(of, from), { flush: sync });
        renameSync(from, parts.finished);
      } catch (cause) {
        throw writeError(final, cause);
      }
      try {
        requireFree(out, place);
        takePlace(final, parts);
      } catch (cause) {
        rmSync(record, { force: true });
        throw keptBeside(parts.finished, final, cause);
      }
      published = true;
      settle?.();
    },
  };
}

/**
 * Looks for the result of a run that was killed while its result, which was whole, was given the name. It is taken as it is: it gets the name where it
 * has not yet, and what the run left is removed.
 * @param of what is asked for; a result of something else is left alone
 * @param settle as that of {@link ResultPlace.publish}
 * @returns whether it was there, and stands at `out` now
 * @throws {LfmError} FILE_IO (another process is at it, or the place was taken since)
 */
export function takeFinished(out: string, of: string, settle?: () => void): boolean {
  const final = existsSync(out) ? realpathSync(out) : resolve(out);
  const [partial, record] = [`${final}.partial`, recordOf(final)];
  const parts = partsOf(partial);
  if (!isThere(record)) return false;
  const at = [parts.finished, final].find((place) => isThere(place) && readFileSync(record, "utf8") === textOfRecord(of, place));
  if (at === undefined) return false;
  if (isThere(partial)) {
    requireParts(partial);
    const { lock } = takeFolder(partial, out);
    try {
      recover(final, parts);
    } finally {
      lock.release();
      removeEmpty(partial);
    }
  }
  settle?.();
  rmSync(record);
  return true;
}

/** Beside the place of a result: says what the result is of, from when it is whole until nothing else is left of its making. */
function recordOf(final: string): string {
  return `${final}.partial.of`;
}

/** A folder keeps its number under every name. */
function textOfRecord(of: string, result: string): string {
  return `${createHash("sha256").update(of).digest("hex")} ${statSync(result).ino}\n`;
}

/** True for a link to nothing too. @throws {LfmError} FILE_IO for a name that cannot be, or a folder that cannot be looked into */
function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") return false;
    throw writeError(path, cause);
  }
}

/** What another disk is mounted on cannot be replaced: that would show when all the work is done. @throws {LfmError} FILE_IO */
function requireOwnDevice(final: string): void {
  if (!isThere(final) || statSync(final).dev === statSync(dirname(final)).dev) return;
  throw new LfmError("FILE_IO", `[@lfm/formats] ${final} is where a disk is mounted: no folder can take its place`, {
    hint: `--out ${join(final, "result")}`,
  });
}

/** @throws {LfmError} CONFIG_INVALID for a folder that has the name of what is on its way, and is not */
function requireParts(partial: string): void {
  if (!isThere(partial)) return;
  const known: readonly string[] = Object.values(PARTS);
  const foreign = statSync(partial).isDirectory() ? readdirSync(partial).find((n) => !known.includes(n) && !n.endsWith(".tmp")) : "";
  if (foreign === undefined) return;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/formats] ${partial} is in the way: ${foreign || "it"} is not what a run that was stopped leaves`,
    {
      hint: "choose another --out, or remove it yourself",
    },
  );
}

/** Makes the folder and takes it; a run that ends just now may remove it in between. */
function takeFolder(partial: string, out: string): { readonly made: string | undefined; readonly lock: FolderLock } {
  for (let attempt = 1; ; attempt++) {
    let made: string | undefined;
    try {
      made = makeFolder(partial);
    } catch (cause) {
      throw writeError(partial, cause);
    }
    try {
      return { made, lock: lockFolder(partial, out) };
    } catch (cause) {
      if (made !== undefined) removeEmpty(partial);
      if (isThere(partial) || attempt === 3) throw cause;
    }
  }
}

type Parts = Readonly<Record<keyof typeof PARTS, string>>;

function partsOf(partial: string): Parts {
  const { lock, result, finished, replaced, checkpoint, merge, journal } = PARTS;
  const at = (name: string): string => join(partial, name);
  return {
    lock: at(lock),
    result: at(result),
    finished: at(finished),
    replaced: at(replaced),
    checkpoint: at(checkpoint),
    merge: at(merge),
    journal: at(journal),
  };
}

/** Goes on where a process was killed: see {@link PARTS} for what each name stands for. */
function recover(final: string, parts: Parts): void {
  if (isThere(parts.finished)) {
    // The run before could replace what is there, or the place was free.
    if (!isThere(final) || isReplaceable(final)) takePlace(final, parts);
    else throw keptBeside(parts.finished, final, undefined);
  }
  // Only where that of before could not come back at once.
  if (isThere(parts.replaced) && !isThere(final)) renameSync(parts.replaced, final);
  for (const rest of [parts.replaced, parts.result]) rmSync(rest, { recursive: true, force: true });
  clearAbandoned(dirname(parts.lock));
  if (isThere(parts.checkpoint)) clearAbandoned(parts.checkpoint);
}

function isReplaceable(final: string): boolean {
  if (!statSync(final).isDirectory()) return true;
  return readdirSync(final).length === 0 || foreignEntry(final) === undefined;
}

/** Gives what is finished the name of the result, in place of that of before, and removes what was saved on the way. Can be cut off anywhere. */
function takePlace(final: string, { finished, replaced, checkpoint, merge, journal }: Parts): void {
  // The journal before what it speaks of.
  for (const saved of [checkpoint, journal, merge]) rmSync(saved, { recursive: true, force: true });
  if (isThere(final) && statSync(final).isDirectory()) {
    rmSync(replaced, { recursive: true, force: true });
    if (!removeEmpty(final)) renameSync(final, replaced);
  }
  try {
    renameSync(finished, final);
  } catch (cause) {
    if (isThere(replaced)) renameSync(replaced, final);
    throw cause;
  }
  syncPath(dirname(final));
  rmSync(replaced, { recursive: true, force: true });
}

/** A result that finds its place taken after all the work is kept under another name. */
function keptBeside(finished: string, final: string, cause: unknown): LfmError {
  let number = 1;
  while (isThere(`${final}.${number}`)) number++;
  const kept = `${final}.${number}`;
  renameSync(finished, kept);
  const why = cause instanceof LfmError ? cause.message : cause === undefined ? `${final} is there` : writeError(final, cause).message;
  return new LfmError("FILE_IO", `[@lfm/formats] the result could not take its place and is in ${kept}: ${why.replace(/^\[.*?\] /, "")}`, {
    cause,
    hint: `mv ${kept} ELSEWHERE`,
  });
}

function syncAll(path: string): void {
  if (statSync(path).isDirectory()) for (const name of readdirSync(path)) syncAll(join(path, name));
  syncPath(path);
}

/** Removes a folder if nothing is in it. */
function removeEmpty(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
