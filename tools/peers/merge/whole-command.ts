import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

export interface CommandRun {
  readonly ms: number;
  /** Most memory that the process and its children held, added up; from Linux' VmHWM, looked at every 20 ms. */
  readonly peakRssBytes: number;
}

/** Runs a command to its end. @throws {Error} with what it said when it fails */
export function runCommand(command: string, args: readonly string[], cwd: string): Promise<CommandRun> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, OMP_NUM_THREADS: "2", TOKENIZERS_PARALLELISM: "false", HF_HUB_OFFLINE: "1" },
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4000);
      });
    const peaks = new Map<number, number>();
    const look = (pid: number): void => {
      try {
        const kb = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
        if (kb !== undefined) peaks.set(pid, Math.max(peaks.get(pid) ?? 0, 1024 * Number(kb)));
        for (const task of readdirSync(`/proc/${pid}/task`))
          for (const other of readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean)) look(Number(other));
      } catch {
        // It has ended between two looks: what was seen before counts.
      }
    };
    const timer = setInterval(() => look(child.pid!), 20);
    child.once("error", reject);
    child.once("close", (code) => {
      clearInterval(timer);
      const ms = performance.now() - started;
      if (code === 0) resolve({ ms, peakRssBytes: [...peaks.values()].reduce((a, b) => a + b, 0) });
      else reject(new Error(`${command} ${args.join(" ")} ended with code ${code}:\n${said}`));
    });
  });
}

export function spread(values: readonly number[]): { readonly median: number; readonly min: number; readonly max: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}
