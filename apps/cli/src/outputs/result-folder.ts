import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type OutputPlace, requireFree } from "@lfm/formats";

/** A result that appears under its name when all of it is written. */
export interface OutputFolder {
  /** Where it is written until then; what a stopped job saved of itself lies there too. */
  readonly partial: string;
  /** Writes and gives the folder its name. Nothing else that lay in `partial` comes along. */
  finish(write: (folder: string) => Promise<void>): Promise<void>;
}

/** @throws {LfmError} CONFIG_INVALID for a place that is not free: ask before any work */
export function openOutput(out: string, place: OutputPlace): OutputFolder {
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
      mkdirSync(dirname(out), { recursive: true });
      // The old one goes only after the new one is there.
      const old = join(partial, "replaced");
      rmSync(old, { recursive: true, force: true });
      if (existsSync(out)) renameSync(out, old);
      renameSync(result, out);
      rmSync(partial, { recursive: true });
    },
  };
}
