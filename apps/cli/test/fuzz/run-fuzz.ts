import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFixtures } from "./fixtures.js";

/** Bytes that a reader of small files may come to. */
const MOST_MEMORY = 1.5 * 2 ** 30;
/** How long one file may keep a process silent; the time of the processor is what is judged, this only finds what never ends. */
const SILENCE_MS = 60_000;

interface Message {
  readonly i: number;
  readonly what?: string;
  readonly came?: string;
  readonly flaw?: string;
  readonly rss?: number;
}

export interface FuzzReport {
  readonly flaws: readonly string[];
  /** Outcome → how many files. */
  readonly came: Readonly<Record<string, number>>;
}

/** Tries files `from` to `to` in a process of their own; one that hangs or dies is noted, and the next process begins behind its file. */
export async function runFuzz(from: number, to: number): Promise<FuzzReport> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-fuzz-"));
  const came: Record<string, number> = {};
  const flaws: string[] = [];
  try {
    await writeFixtures(join(folder, "fixtures"));
    let next = from;
    while (next < to) {
      let what = "";
      const child = fork(
        new URL("./fuzz-child.ts", import.meta.url),
        [String(next), String(to), join(folder, "fixtures"), join(folder, "work")],
        {
          execArgv: ["--import", "tsx", "--conditions=@lfm/source", "--max-old-space-size=1024"],
          stdio: ["ignore", "ignore", "pipe", "ipc"],
        },
      );
      const end = await watch(child, (message) => {
        next = Math.max(next, message.i + (message.came === undefined ? 0 : 1));
        if (message.what !== undefined) what = message.what;
        if (message.came === undefined) return;
        came[message.came] = (came[message.came] ?? 0) + 1;
        if (message.flaw !== undefined) flaws.push(message.flaw);
        if ((message.rss ?? 0) > MOST_MEMORY) flaws.push(`${what}: ${((message.rss ?? 0) / 2 ** 20).toFixed(0)} MiB`);
      });
      if (end === undefined) break;
      flaws.push(`${what}: ${end}`);
      next++;
    }
    return { flaws, came };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns how the process ended where it should not have */
async function watch(child: ChildProcess, hear: (message: Message) => void): Promise<string | undefined> {
  let [said, silent] = ["", false];
  child.stderr!.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000);
  });
  const kill = (): void => {
    silent = true;
    child.kill("SIGKILL");
  };
  let timer = setTimeout(kill, SILENCE_MS);
  child.on("message", (message) => {
    clearTimeout(timer);
    timer = setTimeout(kill, SILENCE_MS);
    hear(message as Message);
  });
  const how = await new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  clearTimeout(timer);
  if (how === 0) return undefined;
  return silent ? `silent for ${SILENCE_MS / 1000} s` : `ended with ${String(how)}: ${said}`;
}
