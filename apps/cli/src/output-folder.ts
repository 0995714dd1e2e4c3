import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { LfmError } from "@lfm/core";

/** A result that appears under its name when all of it is written. */
export interface OutputFolder {
  /** Where it is written until then; what a stopped job saved of itself lies there too. */
  readonly partial: string;
  /** Writes and gives the folder its name. Nothing else that lay in `partial` comes along. */
  finish(write: (folder: string) => Promise<void>): Promise<void>;
}

/**
 * @param inputs folders that the job reads; names that are none may be among them
 * @throws {LfmError} CONFIG_INVALID when `out` is taken, or would be replaced and is no result or an input: ask before any work
 */
export function openOutput(out: string, overwrite: boolean, inputs: readonly string[]): OutputFolder {
  if (existsSync(out)) refuseTaken(out, overwrite, inputs);
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

const RESULTS = ["config.json", "adapter_config.json", "report.json"];

function refuseTaken(out: string, overwrite: boolean, inputs: readonly string[]): void {
  const names = statSync(out).isDirectory() ? readdirSync(out) : undefined;
  if (names?.length === 0) return;
  if (!overwrite) throw new LfmError("CONFIG_INVALID", `lfm: ${out} is there already`, { hint: "choose another folder, or --overwrite" });
  const place = realpathSync(out);
  const read = inputs.find((name) => existsSync(name) && `${realpathSync(name)}/`.startsWith(`${place}/`));
  if (read !== undefined)
    throw new LfmError("CONFIG_INVALID", `lfm: ${out} cannot be replaced: ${read} is read from there`, { hint: "choose another folder" });
  if (!names?.some((name) => RESULTS.includes(name)))
    throw new LfmError("CONFIG_INVALID", `lfm: ${out} holds no model and no adapter: it is not replaced`, {
      hint: "choose another folder, or remove it yourself",
    });
}
