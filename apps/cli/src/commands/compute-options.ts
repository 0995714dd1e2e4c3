import type { Command } from "commander";
import type { VerbOptions } from "../program/job.js";
import { readCount, readSeed } from "./flag-values.js";

/** Options of everything that computes. */
export function withComputeOptions(command: Command): Command {
  return command
    .option("--seed <n>", "seed of everything random", readSeed, 0)
    .option("--engine <name>", "auto, ort, tfjs or reference", "auto")
    .option("--threads <n>", "threads inside one operation", readCount);
}

/** Options of everything that computes and leaves a result in a folder. */
export function withRunOptions(command: Command, verb: string, method: string): Command {
  return withComputeOptions(command).option("--out <dir>", `where the result goes (default lfm-out/${verb}-${method})`);
}

/**
 * Where a result goes: the last argument, or --out.
 * @throws {LfmError} CONFIG_INVALID for both
 */
export async function resultPlace(argument: string | undefined, options: VerbOptions): Promise<string | undefined> {
  if (argument === undefined || options.out === undefined) return argument ?? options.out;
  const { LfmError } = await import("@lfm/core");
  throw new LfmError("CONFIG_INVALID", `${argument} and --out ${options.out} are both given; a result has one place`, {
    hint: "leave one of them out",
  });
}

/** @throws {LfmError} CONFIG_INVALID naming the options that are not given */
export async function requireOptions(options: VerbOptions, required: readonly string[]): Promise<void> {
  const missing = required.filter((name) => options[name] === undefined);
  if (missing.length === 0) return;
  const { LfmError } = await import("@lfm/core");
  const flags = missing.map((name) => `--${name}`).join(" and ");
  throw new LfmError("CONFIG_INVALID", `${flags} ${missing.length > 1 ? "are" : "is"} not given`, {
    hint: "--help shows what each stands for",
  });
}
