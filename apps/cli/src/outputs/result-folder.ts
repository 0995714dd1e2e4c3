import { mkdirSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type OutputPlace, replaceFolder, requireFree } from "@lfm/formats";

/** A result that appears under its name when all of it is written. */
export interface ResultFolder {
  /** Where it is written until then; what a stopped job saved of itself lies there too. */
  readonly partial: string;
  /** Writes and gives the folder its name. Nothing else that lay in `partial` comes along. */
  finish(write: (folder: string) => Promise<void>): Promise<void>;
}

/** @throws {LfmError} CONFIG_INVALID for a place that is not free: ask before any work */
export function openResult(out: string, place: OutputPlace): ResultFolder {
  requireFree(out, place);
  const partial = `${out}.partial`;
  return {
    partial,
    finish: async (write) => {
      const result = join(partial, "result");
      rmSync(result, { recursive: true, force: true });
      mkdirSync(result, { recursive: true });
      try {
        await write(result);
      } catch (cause) {
        rmSync(result, { recursive: true });
        if (readdirSync(partial).length === 0) rmdirSync(partial);
        throw cause;
      }
      replaceFolder(result, out);
      rmSync(partial, { recursive: true });
    },
  };
}
