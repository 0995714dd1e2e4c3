import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { type OutputPlace, openResultPlace, PARTS, type ResultPlace, writeError } from "@lfm/formats";

/** A result folder that appears under its name when all of it is written. */
export interface ResultFolder {
  /** Where it is written until then; what a stopped job saved of itself lies there too. */
  readonly partial: string;
  /** Writes and gives the folder its name. @returns what writing gave @throws {LfmError} FILE_IO */
  finish<T>(write: (folder: string) => T | Promise<T>): Promise<T>;
}

/** Where a job leaves its result. */
export interface JobPlace extends OutputPlace {
  /** Goes on from what a stopped job has saved there, and looks itself whether it may. Default: what is saved is kept, and the place refused. */
  readonly goesOn?: boolean;
}

/** Writes a result that is one file, and gives it its name. @throws {LfmError} FILE_IO */
export type SaveFile = (write: (file: string) => void | Promise<void>) => Promise<void>;

/**
 * Runs a job that leaves its result in a folder. The place is this job's alone from before any work until the job ends, however it does.
 * @throws {LfmError} CONFIG_INVALID for a place that is not free, FILE_IO for one that cannot be written
 */
export function withResult<T>(out: string, place: JobPlace, job: (output: ResultFolder) => Promise<T>): Promise<T> {
  return within(out, place, (at) =>
    job({
      partial: at.partial,
      finish: (write) =>
        finish(out, at, (folder) => {
          mkdirSync(folder);
          return write(folder);
        }),
    }),
  );
}

/** The same for a result that is one file; what a stopped job saved of itself lies in `partial`. */
export function withResultFile<T>(
  out: string,
  place: JobPlace & Required<Pick<OutputPlace, "isResult">>,
  job: (save: SaveFile, partial: string) => Promise<T>,
): Promise<T> {
  return within(out, place, (at) => job((write) => finish(out, at, write), at.partial));
}

async function within<T>(out: string, place: JobPlace, job: (at: ResultPlace) => Promise<T>): Promise<T> {
  const at = openResultPlace(out, place);
  try {
    const saved = [PARTS.journal, ...(place.goesOn ? [] : [PARTS.checkpoint])].find((name) => existsSync(join(at.partial, name)));
    if (saved !== undefined)
      throw new LfmError("CONFIG_INVALID", `lfm: ${at.partial} holds what another job had done when it was stopped`, {
        hint: `go on with its own command, choose another --out, or rm -r ${at.partial}`,
      });
    return await job(at);
  } finally {
    at.close();
  }
}

async function finish<T>(out: string, { result, publish }: ResultPlace, write: (result: string) => T | Promise<T>): Promise<T> {
  let written: T;
  try {
    written = await write(result);
  } catch (cause) {
    throw writeError(out, cause);
  }
  publish();
  return written;
}
