import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { LfmError } from "@lfm/core";
import { isDeltaFolder, readJsonFile, writeTextFile } from "@lfm/formats";
import { z } from "zod";

const FILE = "stack.json";
const FORMAT = "lfm-stack";

const stackSchema = z.strictObject({
  format: z.literal(FORMAT),
  /** Hash of the model that all of them lie on; null where none of them knows. */
  parent: z.string().nullable(),
  patches: z.array(z.strictObject({ name: z.string(), sha256: z.string() })),
});

/** A patch on a stack. */
export interface StackedPatch {
  /** What it was called where it came from. */
  readonly name: string;
  /** A delta's file. */
  readonly path: string;
  readonly sha256: string;
}

/** Patches that lie on one model, the first at the bottom: a folder that `--delta` takes as it takes one of them. */
export interface Stack {
  readonly parent: string | null;
  readonly patches: readonly StackedPatch[];
}

export function isStack(folder: string): boolean {
  return existsSync(join(folder, FILE));
}

/** @throws {LfmError} FILE_IO; FILE_FORMAT for a folder that holds none, and for a patch that is not what was put there */
export function readStack(folder: string): Stack {
  const path = join(folder, FILE);
  const parsed = stackSchema.safeParse(readJsonFile(path));
  if (!parsed.success) throw new LfmError("FILE_FORMAT", `lfm: ${path} is no stack of patches: ${z.prettifyError(parsed.error)}`);
  const { parent, patches } = parsed.data;
  return {
    parent,
    patches: patches.map(({ name, sha256 }, i) => {
      const file = join(folder, fileOf(i));
      if (hashOf(file) !== sha256) throw new LfmError("FILE_FORMAT", `lfm: ${file} is not the patch "${name}" that was put there`);
      return { name, path: file, sha256 };
    }),
  };
}

/** Puts the patches and what says their order into a folder. @throws {LfmError} FILE_IO */
export function writeStack(folder: string, { parent, patches }: Stack): void {
  for (const [i, { path }] of patches.entries()) copyFileSync(path, join(folder, fileOf(i)));
  const text = { format: FORMAT, parent, patches: patches.map(({ name, sha256 }) => ({ name, sha256 })) };
  writeTextFile(join(folder, FILE), `${JSON.stringify(text, null, 2)}\n`);
}

/** The deltas of a folder, from the bottom: of a stack each, of a delta the folder itself, of adapters of other libraries none. */
export function patchesIn(folder: string): readonly StackedPatch[] {
  if (isStack(folder)) return readStack(folder).patches;
  const path = isDeltaFolder(folder) ? join(folder, "delta.safetensors") : folder;
  return path.endsWith(".safetensors") ? [{ name: basename(resolve(folder)), path, sha256: hashOf(path) }] : [];
}

/** What is loaded for a folder of `--delta`: a stack's patches in its place. */
export function expandStack(folder: string): readonly string[] {
  return isStack(folder) ? readStack(folder).patches.map((p) => p.path) : [folder];
}

function fileOf(place: number): string {
  return `patch-${String(place + 1).padStart(4, "0")}.safetensors`;
}

/** @throws {LfmError} FILE_IO */
function hashOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
