import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import type { MergePlan, TensorSource } from "./plan.js";

/** What a merge was and how far it came: a line with the plan's hash, then one with the index of each tensor that is whole. */
export interface Journal {
  /** Tensors that need not be merged again. */
  readonly done: ReadonlySet<number>;
}

/** Starts a journal, or reads one that a stopped merge left. @throws {LfmError} PARENT_MISMATCH when it belongs to another plan */
export function openJournal(path: string, hash: string, resume: boolean): Journal {
  if (!resume || !existsSync(path)) {
    writeFileSync(path, `${hash}\n`);
    return { done: new Set() };
  }
  // What stands behind the last line break was being written when the process ended.
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  if (lines[0] !== hash)
    throw new LfmError(
      "PARENT_MISMATCH",
      `[@lfm/reuse] ${path} belongs to another merge: the configuration, an option or an input has changed`,
      {
        hint: "run again without --resume to start over",
      },
    );
  return { done: new Set(lines.slice(1).map(Number)) };
}

/** Notes a tensor whose bytes are all written. Lines are short: appending them is atomic, from any thread. */
export function noteDone(path: string, tensor: number): void {
  appendFileSync(path, `${tensor}\n`);
}

/** Files that a merge reads numbers from, sorted. */
export function weightFiles(plan: MergePlan): readonly string[] {
  const files = plan.tensors.flatMap((t) =>
    [...t.models, ...(t.base ? [t.base] : [])].flatMap((input) => [
      ...filesOf(input.source),
      ...(input.statistics ? [input.statistics.source.file] : []),
    ]),
  );
  return [...new Set(files)].sort();
}

/** Identifies a plan together with the state of its input files (size and time of change). @throws {LfmError} FILE_IO */
export function hashPlan(plan: MergePlan, options: unknown): string {
  const hash = createHash("sha256").update(JSON.stringify([plan, options], shortened));
  for (const file of weightFiles(plan)) {
    const { size, mtimeMs } = stateOf(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest("hex");
}

/** Lists of rows are long: their hash stands for them. */
function shortened(_: string, value: unknown): unknown {
  return value instanceof Int32Array ? createHash("sha256").update(value).digest("hex") : value;
}

function stateOf(file: string): { readonly size: number; readonly mtimeMs: number } {
  try {
    return statSync(file);
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/reuse] cannot read ${file}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
}

/** Files that a source reads. */
function filesOf(source: TensorSource): string[] {
  if (source.kind === "stored") return [source.file];
  if (source.kind === "adapted") return [...filesOf(source.weight), source.down.file, source.up.file];
  return source.of.flatMap(filesOf);
}
