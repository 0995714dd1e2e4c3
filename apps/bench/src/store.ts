import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type CellResult, cellResultSchema, LfmError, makeFolder } from "@lfm/core";
import { clearAbandoned, lockFolder, writeError, writeTextFile } from "@lfm/formats";
import { z } from "zod";

/** The folder of a run: `results/<hash>.json`, one file a cell. */
export interface ResultStore {
  /** The result of a cell, undefined where there is none. @throws {LfmError} FILE_FORMAT naming the file when it is no result */
  read(hash: string): CellResult | undefined;
  write(result: CellResult): void;
}

/** Opens the folder of a run that is there. */
export function openStore(dir: string): ResultStore {
  const path = (hash: string): string => join(dir, RESULTS, `${hash}.json`);
  return {
    read: (hash) => (existsSync(path(hash)) ? readResult(path(hash)) : undefined),
    write: (result) => writeTextFile(path(result.hash), `${JSON.stringify(result, null, 1)}\n`),
  };
}

const RESULTS = "results";
export const SUMMARY = "summary.json";

/**
 * Takes the folder of a run for this process, making it where it is missing, and clears away what a killed run left half written.
 * @returns lets others have it
 * @throws {LfmError} CONFIG_INVALID for a folder that holds something else than a run, FILE_IO where it cannot be written or another process
 *   is at it
 */
export function takeRunFolder(dir: string): () => void {
  requireRun(dir);
  try {
    makeFolder(join(dir, RESULTS));
  } catch (cause) {
    throw writeError(dir, cause);
  }
  const lock = lockFolder(dir);
  for (const folder of [dir, join(dir, RESULTS)]) clearAbandoned(folder);
  return lock.release;
}

/** Files of a run are written over what has their names: only in a folder of a run are these its own. */
function requireRun(dir: string): void {
  const names = existsSync(dir) ? namesIn(dir) : [];
  const own = names.includes(SUMMARY) ? isSummary(join(dir, SUMMARY)) : names.every((name) => name === RESULTS);
  if (own) return;
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] ${dir} holds ${names.find((n) => n !== RESULTS)} and is no folder of a run`, {
    hint: "choose another --out",
  });
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir).filter((name) => !name.endsWith(".tmp") && name !== ".lock");
  } catch (cause) {
    throw writeError(dir, cause);
  }
}

/** Of this version or another. */
function isSummary(path: string): boolean {
  try {
    return z.looseObject({ suite: z.string(), cells: z.array(z.unknown()) }).safeParse(JSON.parse(readFileSync(path, "utf8"))).success;
  } catch {
    return false;
  }
}

function readResult(path: string): CellResult {
  return parseJson(path, cellResultSchema, "no result of a cell");
}

/** Reads JSON against a schema. @throws {LfmError} FILE_IO, FILE_FORMAT naming the file */
export function parseJson<S extends z.ZodType>(path: string, schema: S, what: string): z.output<S> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/bench] cannot read ${path}`, { cause, hint: "give the folder that `lfm bench --out` wrote" });
  }
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/bench] ${path} is no JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(raw);
  if (!parsed.success) throw new LfmError("FILE_FORMAT", `[@lfm/bench] ${path} is ${what}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
