import { availableParallelism } from "node:os";
import { LfmError } from "../errors.js";

/** Threads that anything may be asked to start: more than a machine has cores only take turns, and thousands take its memory. */
export function mostThreads(): number {
  return Math.max(64, 4 * availableParallelism());
}

/**
 * Passes a number of threads on, undefined for the default of whoever starts them.
 * @throws {LfmError} CONFIG_INVALID for what is no number from 1 to {@link mostThreads}
 */
export function checkThreads(threads: number | undefined): number | undefined {
  if (threads === undefined || (Number.isInteger(threads) && threads >= 1 && threads <= mostThreads())) return threads;
  const cores = availableParallelism();
  throw new LfmError("CONFIG_INVALID", `[@lfm/core] ${threads} threads: from 1 to ${mostThreads()} are started here`, {
    hint: `--threads ${cores} for the ${cores} processors of this machine`,
  });
}
