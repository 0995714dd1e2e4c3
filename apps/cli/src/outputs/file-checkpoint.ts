import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Checkpoint, type CheckpointState, LfmError } from "@lfm/core";
import { PARTS, readSafetensors, writeSafetensors } from "@lfm/formats";
import { z } from "zod";
import { differences, type RunIdentity } from "./run-identity.js";

const folderOf = (partial: string): string => join(partial, PARTS.checkpoint);

/**
 * Checkpoints of a run beside its output: one safetensors file per phase, replaced atomically, with what makes the run the run that it is.
 * @param identity is asked when the first is saved
 */
export function fileCheckpoint(partial: string, identity: () => Promise<RunIdentity>): (phase: string) => Checkpoint {
  return (phase) => {
    const file = join(folderOf(partial), `${phase.replaceAll("/", "-")}.safetensors`);
    return {
      load: async (): Promise<CheckpointState | undefined> => {
        if (!existsSync(file)) return undefined;
        const { metadata, tensors } = readSafetensors(file);
        const step = stepOf(file, metadata.step);
        return { step, tensors: Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.read()])) };
      },
      save: async (state) => {
        const metadata = { step: String(state.step), run: JSON.stringify(await identity()) };
        await writeSafetensors(file, state.tensors, { metadata });
      },
    };
  };
}

/**
 * Looks, before any work, whether what a stopped run saved in the folder is of the same run: only then it may go on there.
 * @param fresh removes what is saved instead
 * @throws {LfmError} PARENT_MISMATCH naming what differs, FILE_FORMAT for a file that no run saved
 */
export async function requireSameRun(partial: string, identity: () => Promise<RunIdentity>, fresh: boolean): Promise<void> {
  const folder = folderOf(partial);
  if (fresh) rmSync(folder, { recursive: true, force: true });
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const { step, run } = readSafetensors(file).metadata;
    const done = stepOf(file, step);
    const different = differences(runOf(file, run), await identity());
    if (different.length === 0) continue;
    throw new LfmError(
      "PARENT_MISMATCH",
      `lfm: ${folder} holds what another run had learned when it was stopped at step ${done}: ${different.join("; ")}`,
      { hint: "go on with its own command, choose another --out, or drop what it learned with --fresh", details: { different } },
    );
  }
}

/** True where a stopped job can go on. */
export function hasCheckpoint(partial: string): boolean {
  return existsSync(folderOf(partial));
}

function stepOf(file: string, text: string | undefined): number {
  const step = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && Number.isSafeInteger(step)) return step;
  throw broken(file, `its step is ${text === undefined ? "not there" : JSON.stringify(text)}`);
}

function runOf(file: string, text: string | undefined): RunIdentity {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    throw broken(file, "it does not say of which run it is");
  }
  const parsed = z.record(z.string(), z.string()).safeParse(value);
  if (parsed.success) return parsed.data;
  throw broken(file, "it does not say of which run it is");
}

function broken(file: string, what: string): LfmError {
  return new LfmError("FILE_FORMAT", `lfm: ${file} is no checkpoint: ${what}`, { hint: "--fresh starts over without it" });
}
