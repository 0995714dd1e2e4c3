import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CellResult, cellResultSchema, LfmError, makeFolder } from "@lfm/core";
import { z } from "zod";

let writes = 0;

/** Writes under another name first and renames: a reader sees the file of before or the whole new one, whatever happens in between. */
export function writeAtomic(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.${++writes}.tmp`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new LfmError("FILE_IO", `[@lfm/bench] cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** The folder of a run: `results/<hash>.json`, one file a cell. */
export interface ResultStore {
  /** The result of a cell, undefined where there is none. @throws {LfmError} FILE_FORMAT naming the file when it is no result */
  read(hash: string): CellResult | undefined;
  write(result: CellResult): void;
}

/** Opens the folder, making it where it is missing, and clears away what a killed run left half written. */
export function openStore(dir: string): ResultStore {
  const folder = join(dir, "results");
  try {
    makeFolder(folder);
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/bench] cannot make ${folder}: ${(cause as Error).message}`, { cause });
  }
  for (const file of readdirSync(folder)) if (isAbandoned(file)) rmSync(join(folder, file), { force: true });
  return {
    read: (hash) => {
      const path = join(folder, `${hash}.json`);
      return existsSync(path) ? readResult(path) : undefined;
    },
    write: (result) => writeAtomic(join(folder, `${result.hash}.json`), `${JSON.stringify(result, null, 1)}\n`),
  };
}

/** A temporary file whose writer is gone. */
function isAbandoned(file: string): boolean {
  const pid = Number(/\.(\d+)\.\d+\.tmp$/.exec(file)?.[1] ?? Number.NaN);
  if (!Number.isInteger(pid)) return false;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
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
