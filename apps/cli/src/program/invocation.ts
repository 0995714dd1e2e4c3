import type { Command, Option } from "commander";
import type { CommonOptions, Console, Io } from "./console.js";
import type { RunJob } from "./job.js";

/** One run of the program: where it prints, what it was asked, how jobs are run, how it ends. */
export interface Invocation {
  readonly io: Io;
  readonly argv: readonly string[];
  readonly runJob: RunJob;
  exitCode: number;
  /** Of the command that was typed. */
  options: readonly Option[];
}

/** Adds the options that every command takes. */
export function withCommonOptions(command: Command): Command {
  return command
    .option("--json", "print the result as JSON on stdout")
    .option("--quiet", "no progress and no notes")
    .option("--debug", "show the stack of an error")
    .allowExcessArguments(false);
}

/** Runs a command's body; an error becomes message, hint and exit code. */
export async function act(invocation: Invocation, options: CommonOptions, body: (console: Console) => Promise<unknown>): Promise<void> {
  const { Console } = await import("./console.js");
  const console = new Console(invocation.io, options);
  try {
    const code = await body(console);
    if (typeof code === "number") invocation.exitCode = code;
  } catch (error) {
    const [{ saidByFlags }, { knownError }] = await Promise.all([import("./said-by-flags.js"), import("./known-error.js")]);
    invocation.exitCode = console.failure(saidByFlags(knownError(error), invocation.options));
  }
}
