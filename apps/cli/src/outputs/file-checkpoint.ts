import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Checkpoint, type CheckpointState, LfmError } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";

/** Checkpoints of a job under its output folder: one safetensors file per phase, replaced atomically. */
export interface FileCheckpoint {
  (phase: string): Checkpoint;
  /** Removes what was saved: the job is done. */
  clear(): void;
}

const FOLDER = "checkpoint";

export function fileCheckpoint(out: string): FileCheckpoint {
  const file = (phase: string): string => join(out, FOLDER, `${phase.replaceAll("/", "-")}.safetensors`);
  const open = (phase: string): Checkpoint => ({
    load: async (): Promise<CheckpointState | undefined> => {
      if (!existsSync(file(phase))) return undefined;
      const { metadata, tensors } = readSafetensors(file(phase));
      const step = /^\d{1,15}$/.test(metadata.step ?? "") ? Number(metadata.step) : undefined;
      if (step === undefined)
        throw new LfmError("FILE_FORMAT", `lfm: ${file(phase)} does not say after how many steps it was saved: ${metadata.step}`, {
          hint: `remove it to begin anew: rm ${file(phase)}`,
        });
      return { step, tensors: Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.read()])) };
    },
    save: (state) => writeSafetensors(file(phase), state.tensors, { metadata: { step: String(state.step) } }),
  });
  return Object.assign(open, { clear: () => rmSync(join(out, FOLDER), { recursive: true, force: true }) });
}

/** True where a stopped job can go on. */
export function hasCheckpoint(out: string): boolean {
  return existsSync(join(out, FOLDER));
}
