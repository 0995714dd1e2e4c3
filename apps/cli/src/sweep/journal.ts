import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { PARTS, readJsonFile, writeTextFile } from "@lfm/formats";
import { z } from "zod";
import { differences, type RunIdentity } from "../outputs/run-identity.js";

const outcome = z.strictObject({
  /** Of the held-out examples, after training. */
  metrics: z.record(z.string(), z.number()).optional(),
  /** Why there are none. */
  failed: z.string().optional(),
  seconds: z.number(),
});
export type Outcome = z.output<typeof outcome>;

const saved = z.strictObject({ identity: z.record(z.string(), z.string()), trials: z.record(z.string(), outcome) });

/** What a sweep has done, kept beside its result from trial to trial. */
export interface SweepJournal {
  /** Where the result of a trial lies. */
  folderOf(trial: string): string;
  find(trial: string): Outcome | undefined;
  keep(trial: string, outcome: Outcome): void;
}

/**
 * Opens the journal of a sweep in the folder of a result on its way.
 * @param fresh drops what is there
 * @throws {LfmError} PARENT_MISMATCH naming what differs for another sweep's, FILE_FORMAT for none
 */
export function openJournal(partial: string, identity: RunIdentity, fresh: boolean): SweepJournal {
  const folder = join(partial, PARTS.checkpoint);
  const file = join(folder, "sweep.json");
  if (fresh) rmSync(folder, { recursive: true, force: true });
  const trials = { ...(existsSync(folder) ? readTrials(file, identity) : {}) };
  mkdirSync(folder, { recursive: true });
  const write = (): void => writeTextFile(file, `${JSON.stringify({ identity, trials })}\n`);
  write();
  return {
    folderOf: (trial) => join(folder, "trials", trial),
    find: (trial) => trials[trial],
    keep: (trial, found) => {
      trials[trial] = found;
      write();
    },
  };
}

function readTrials(file: string, identity: RunIdentity): Readonly<Record<string, Outcome>> {
  const hint = "go on with its own command, choose another --out, or drop what it did with --fresh";
  const read = existsSync(file) ? saved.safeParse(readJsonFile(file)) : undefined;
  if (!read?.success) throw new LfmError("FILE_FORMAT", `lfm: ${file} is no journal of a sweep: another job was stopped there`, { hint });
  const different = differences(read.data.identity, identity);
  if (different.length === 0) return read.data.trials;
  throw new LfmError("PARENT_MISMATCH", `lfm: ${file} is of another sweep: ${different.join("; ")}`, { hint, details: { different } });
}
