import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { LfmError, makeFolder } from "@lfm/core";
import { type FolderLock, lockFolder } from "@lfm/formats";

/** What a merge makes on its way to the result and reads again: stages of its file, models with a delta multiplied out, the zoo's model. */
export interface MergeScratch {
  /** Where a stage is merged; its name is any text, the folder's name is not made of it alone. */
  stage(place: number, name: string): ScratchFolder;
  /** Where something stands that is made of other files. */
  made(what: string): ScratchFolder;
  /** Removes everything, unless a merge that is gone on with would need it. */
  clear(options: { readonly keep: boolean }): void;
}

interface ScratchFolder {
  readonly folder: string;
  /** Whether it is whole and was made of the same: then it is used as it is, which keeps the times of its files. */
  isMade(of: string): boolean;
  noteMade(of: string): void;
}

/** What this module calls things in its folder. */
const OWN = /^(stage-\d+|made)-[\w.-]+$|^\.lock/;

/** Beside a folder that is whole. */
const MADE = ".made";

/** What says that folders are whole goes first: a process that ends in between leaves none that is taken for whole. */
function removeAll(root: string): void {
  const names = readdirSync(root).filter((name) => !name.startsWith(".lock"));
  for (const name of names) if (name.endsWith(MADE)) rmSync(join(root, name));
  for (const name of names) rmSync(join(root, name), { recursive: true, force: true });
}

/**
 * @param out the result, beside which `OUT.stages` lies; undefined where nothing is merged, then everything goes at the end
 * @throws {LfmError} CONFIG_INVALID where `OUT.stages` holds something else, FILE_IO where another process is at it
 */
export function openScratch(out: string | undefined, resume: boolean): MergeScratch {
  const root = out === undefined ? undefined : `${resolve(out)}.stages`;
  let temporary: string | undefined;
  let lock: FolderLock | undefined;
  const take = (): void => {
    if (root === undefined || lock) return;
    makeFolder(root);
    lock = lockFolder(root, out);
  };
  if (root !== undefined && existsSync(root)) {
    const other = statSync(root).isDirectory() ? readdirSync(root).find((name) => !OWN.test(name)) : "";
    if (other !== undefined)
      throw new LfmError(
        "CONFIG_INVALID",
        `lfm: ${root} is where stages of this merge would be, and "${other}" in it is of something else`,
        {
          hint: "choose another folder for the result, or remove it yourself",
        },
      );
    take();
    if (!resume) removeAll(root);
  }
  const inRoot = (name: string): ScratchFolder => {
    take();
    temporary ??= root === undefined ? mkdtempSync(join(tmpdir(), "lfm-merge-")) : undefined;
    const folder = join(root ?? temporary!, name);
    const record = `${folder}${MADE}`;
    return {
      folder,
      isMade: (of) => existsSync(record) && existsSync(folder) && readFileSync(record, "utf8") === of,
      noteMade: (of) => {
        makeFolder(join(folder, ".."));
        writeFileSync(record, of, { flush: true });
      },
    };
  };
  return {
    // The number tells stages apart, also where a file system does not tell a from A.
    stage: (place, name) => inRoot(`stage-${place + 1}-${name.replace(/[^\w.-]+/g, "-").slice(0, 60)}`),
    made: (what) => inRoot(`made-${createHash("sha256").update(what).digest("hex").slice(0, 12)}`),
    clear: ({ keep }) => {
      if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
      if (root === undefined || !lock) return;
      if (!keep) removeAll(root);
      lock.release();
      lock = undefined;
      if (readdirSync(root).length === 0) rmdirSync(root);
    },
  };
}

/** Names, sizes and times of the files of folders: what is made of them is made anew when one changes. */
export function stateOfFolders(folders: readonly string[]): string {
  return JSON.stringify(
    folders.map((folder) => [
      resolve(folder),
      ...readdirSync(folder)
        .sort()
        .map((name) => {
          const { size, mtimeMs } = statSync(join(folder, name));
          return [name, size, mtimeMs];
        }),
    ]),
  );
}
