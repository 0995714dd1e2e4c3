import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fromPlainError, LfmError, throwIfAborted } from "@lfm/core";
import type { BriefError } from "./brief-error.js";
import { runnerBase } from "./runner-base.js";

/** One thread: these files are merged before another one has started. Memory is less than the default, so that it is a bound that counts. */
export const LIMITS = { threads: 1, maxMemory: 256 * 2 ** 20 } as const;

export interface FileMerge {
  /** A mergekit configuration of one document. */
  readonly yaml: string;
  /** Where paths of its models begin. */
  readonly folder: string;
  readonly out: string;
  /** Of methods that draw. */
  readonly seed: number;
}

export interface FileMergeReport {
  readonly seconds: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Most resident memory of the process that merged. */
  readonly peakRssBytes: number;
}

export type FileMergeEnd =
  | { readonly status: "ok"; readonly report: FileMergeReport }
  | { readonly status: "failed"; readonly error: BriefError };

/**
 * Merges files in a process of its own, whose memory is then the merge's alone.
 * @throws {LfmError} what the merge threw; ABORTED by the signal; INTERNAL when the process dies
 */
export async function mergeFilesApart(job: FileMerge, signal?: AbortSignal): Promise<FileMergeReport> {
  throwIfAborted(signal, "[@lfm/bench] the merge");
  const entry = new URL("merge-files-worker.js", runnerBase());
  // A process cannot start from a .ts file; @lfm/core's loader takes the build or the sources, and is found from this package's folder.
  const start = `import("@lfm/core/worker").then((m) => m.importEntry(${JSON.stringify(entry.href)}))`;
  const child = spawn(process.execPath, ["--eval", start], {
    cwd: fileURLToPath(runnerBase()),
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const kill = (): void => void child.kill();
  signal?.addEventListener("abort", kill);
  try {
    const end = await new Promise<FileMergeEnd>((resolve, reject) => {
      let said = "";
      child.stderr!.on("data", (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-2000);
      });
      child.once("message", (message) => resolve(message as FileMergeEnd));
      child.once("error", reject);
      child.once("close", (code, by) =>
        reject(new LfmError("INTERNAL", `[@lfm/bench] the process that merges ended with ${by ?? `code ${code}`}: ${said.trim()}`)),
      );
      child.send(job);
    });
    if (end.status === "ok") return end.report;
    throw fromPlainError(end.error);
  } catch (error) {
    throwIfAborted(signal, "[@lfm/bench] the merge");
    throw error;
  } finally {
    signal?.removeEventListener("abort", kill);
  }
}
