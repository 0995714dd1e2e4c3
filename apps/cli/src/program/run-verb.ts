import { existsSync } from "node:fs";
import { isLfmError, type Progress } from "@lfm/core";
import { hasCheckpoint } from "../outputs/file-checkpoint.js";
import type { Console } from "./console.js";
import { exitCodes } from "./exit-codes.js";
import type { Invocation } from "./invocation.js";
import type { VerbName, VerbOptions } from "./job.js";
import { listenForStop } from "./stop.js";

/** What leaves a result in a folder, which has a name where none is given. */
const leavesFolder: readonly VerbName[] = ["method", "sweep", "merge", "task-vector", "student", "index", "convert"];

/**
 * Runs a job, draws its progress, prints its result.
 * @returns the exit code; after Ctrl-C the line that goes on is printed where the job saved itself
 */
export async function runVerb(verb: VerbName, options: VerbOptions, console: Console, invocation: Invocation): Promise<number> {
  const method =
    typeof options.method === "string"
      ? options.method
      : typeof options.mergeConfig === "string"
        ? options.mergeConfig.replace(/^.*\//, "").replace(/\.ya?ml$/, "")
        : undefined;
  const out = options.out ?? (leavesFolder.includes(verb) ? `lfm-out/${[verb, method].filter(Boolean).join("-")}` : undefined);
  const { drain } = options;
  const stop =
    typeof drain === "number"
      ? listenForStop(() => console.note("stopping when what is under way is answered; a second Ctrl-C ends at once"), drainedMs(drain))
      : listenForStop(() => console.note("stopping after this step; a second Ctrl-C ends at once"));
  try {
    const context = { signal: stop.signal, log: (m: string) => console.note(m), progress: (p: Progress) => console.progress(p) };
    const result = await invocation.runJob(verb, { ...options, ...(out === undefined ? {} : { out }) }, context);
    console.result(result.value, () => result.text);
    return result.failed === undefined ? exitCodes.ok : exitCodes.failure;
  } catch (error) {
    if (!isLfmError(error, "ABORTED")) throw error;
    const partial = out === undefined ? undefined : stoppedMerge(out);
    const learned = out !== undefined && hasCheckpoint(`${out}.partial`) ? `${out}.partial` : undefined;
    console.ending(
      partial !== undefined
        ? `stopped; what is finished waits in ${partial}. Go on with:\n  lfm ${quoted(invocation.argv.filter((a) => a !== "--resume"))} --resume`
        : learned !== undefined
          ? `stopped; what was learned so far is in ${learned}. Go on with the same command:\n  lfm ${quoted(invocation.argv.filter((a) => a !== "--fresh"))}`
          : "stopped; nothing was written",
    );
    return exitCodes.aborted;
  } finally {
    stop.end();
  }
}

/** How long a server may take to stop, that lets what is under way end for so many seconds. */
function drainedMs(seconds: number): number {
  return seconds * 1000 + 5000;
}

/** Where a merge that was stopped left its work. */
function stoppedMerge(out: string): string | undefined {
  if (existsSync(`${out}.partial/.journal`)) return `${out}.partial`;
  return existsSync(`${out}.stages`) ? `${out}.stages` : undefined;
}

function quoted(argv: readonly string[]): string {
  return argv.map((a) => (/^[\w./:=,@-]+$/.test(a) ? a : `'${a.replaceAll("'", `'\\''`)}'`)).join(" ");
}
