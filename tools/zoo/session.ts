import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Checkpoint, CheckpointState, Progress } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import type { LogRow, Params, TrainContext } from "./train.js";

const SPEAK_EVERY_MS = 10_000;

/** What a run keeps between two starts of the process: checkpoints, the results of finished phases, the training log. */
export interface Session extends Pick<TrainContext, "checkpoint" | "log" | "progress"> {
  readonly rows: readonly LogRow[];
  /** Runs a phase, or takes its result from a run that was stopped later. */
  once(phase: string, make: () => Promise<Params>): Promise<Params>;
  /** Minutes of all processes that worked on this run, as far as they were saved. */
  minutes(): number;
  /** How many processes worked on this run: one more for each time that it was stopped. Steps done again by another one may round otherwise. */
  readonly processes: number;
  /** Forgets everything: the run is finished. */
  clear(): void;
}

interface Diary {
  readonly rows: LogRow[];
  readonly minutes: number;
  readonly processes: number;
}

/** Goes on with what lies in `folder`, or starts in it. Lines about the progress go to stderr. */
export function openSession(folder: string): Session {
  mkdirSync(folder, { recursive: true });
  const diary = join(folder, "session.json");
  const kept = existsSync(diary) ? (JSON.parse(readFileSync(diary, "utf8")) as Diary) : { rows: [], minutes: 0, processes: 0 };
  const processes = kept.processes + 1;
  const started = performance.now();
  const minutes = (): number => kept.minutes + (performance.now() - started) / 60_000;
  const rows = kept.rows;
  const keepDiary = (): void => writeFileSync(diary, JSON.stringify({ rows, minutes: minutes(), processes } satisfies Diary));
  const file = (name: string): string => join(folder, `${name}.safetensors`);
  let [phase, since, first, spoken] = ["", 0, 0, 0];
  return {
    rows,
    minutes,
    processes,
    clear: () => rmSync(folder, { recursive: true, force: true }),
    checkpoint: (name: string, memo: Record<string, number>): Checkpoint => ({
      load: async () => {
        if (!existsSync(file(name))) return undefined;
        const { metadata, tensors } = readSafetensors(file(name));
        Object.assign(memo, JSON.parse(metadata.memo!));
        return { step: Number(metadata.step), tensors: Object.fromEntries(Object.entries(tensors).map(([k, t]) => [k, t.read()])) };
      },
      save: async (state: CheckpointState) => {
        await writeSafetensors(file(name), state.tensors, { metadata: { step: String(state.step), memo: JSON.stringify(memo) } });
        keepDiary();
      },
    }),
    log: (row) => {
      rows.push(row);
      const shares = `loss ${row.loss.toFixed(3)}, reading ${row.reading.toFixed(3)}, recall ${row.recall.toFixed(3)}, hops ${row.hops.toFixed(3)}, consequences ${row.consequences.toFixed(3)}`;
      process.stderr.write(`${row.phase} step ${row.step}, stage ${row.stage}: ${shares}\n`);
    },
    progress: (p: Progress) => {
      const now = performance.now();
      if (p.phase !== phase || p.done < first) [phase, since, first, spoken] = [p.phase, now, p.done, now];
      if (now - spoken < SPEAK_EVERY_MS) return;
      spoken = now;
      const perSecond = (p.done - first) / ((now - since) / 1000);
      const left = (p.total - p.done) / perSecond / 60;
      process.stderr.write(
        `${p.phase}: ${p.done} of at most ${p.total} steps, ${perSecond.toFixed(1)} steps/s, ${left.toFixed(1)} min left\n`,
      );
    },
    once: async (name, make) => {
      const done = file(`${name}-done`);
      if (existsSync(done)) return Object.fromEntries(Object.entries(readSafetensors(done).tensors).map(([k, t]) => [k, t.read()]));
      const params = await make();
      await writeSafetensors(done, params, {});
      keepDiary();
      return params;
    },
  };
}
