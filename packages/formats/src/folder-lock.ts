import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { beganAt, isAlive } from "./processes.js";
import { clearAbandoned, codeOf, temporaryName, writeError } from "./whole-file.js";

/** A folder that this process alone writes into. */
export interface FolderLock {
  /** Lets others have it. */
  release(): void;
}

/** Who holds a folder. */
const holderSchema = z.object({
  pid: z.number().int().positive(),
  host: z.string(),
  /** See {@link beganAt}. */
  began: z.string().optional(),
});
type Holder = z.output<typeof holderSchema>;

export const LOCK = ".lock";

/**
 * Takes a folder, by a file `.lock` in it that names this process. A lock whose process has died is taken over; one of another machine is
 * believed.
 * @param for_ what is written, for the message
 * @throws {LfmError} FILE_IO naming the process that has it, or where the folder cannot be written
 */
export function lockFolder(folder: string, for_: string = folder): FolderLock {
  const path = join(folder, LOCK);
  const own = JSON.stringify({ pid: process.pid, host: hostname(), began: beganAt(process.pid) } satisfies Partial<Holder>);
  try {
    clearAbandoned(folder, LOCK);
    while (!create(path, own)) {
      const text = contentOf(path);
      if (text === undefined) continue;
      const holder = holderOf(text);
      if (holder && holds(holder)) throw heldBy(holder, path, for_);
      remove(path, text);
    }
  } catch (cause) {
    throw writeError(path, cause);
  }
  return {
    release: () => {
      if (contentOf(path) === own) rmSync(path, { force: true });
    },
  };
}

function heldBy({ pid, host }: Holder, path: string, for_: string): LfmError {
  const here = host === hostname();
  return new LfmError("FILE_IO", `[@lfm/formats] process ${pid}${here ? "" : ` of ${host}`} is writing ${for_}`, {
    details: { pid, host },
    hint: here ? "wait for it, or choose another --out" : `wait for it, or choose another --out; if it has ended: rm ${path}`,
  });
}

/** False where there is one already. Whole at once: a lock is never seen half written. */
function create(path: string, text: string): boolean {
  const whole = temporaryName(path);
  writeFileSync(whole, text, { flag: "wx" });
  try {
    linkSync(whole, path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    // File systems without links.
    return createUnlinked(path, text);
  } finally {
    rmSync(whole, { force: true });
  }
}

function createUnlinked(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: "wx" });
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    throw cause;
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw cause;
  }
}

/** Removes a lock that says what was read, not one that somebody else has put there since. */
function remove(path: string, text: string): void {
  const aside = join(path, "..", basename(temporaryName(path)));
  try {
    renameSync(path, aside);
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return;
    throw cause;
  }
  if (contentOf(aside) !== text) linkSync(aside, path);
  rmSync(aside, { force: true });
}

/** Undefined for a file that no whole lock is. */
function holderOf(text: string): Holder | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return holderSchema.safeParse(value).data;
}

function holds({ pid, host, began }: Holder): boolean {
  if (host !== hostname()) return true;
  return isAlive(pid) && (began === undefined || began === (beganAt(pid) ?? began));
}
