import { main } from "../src/main.js";
import type { RunJob } from "../src/program/job.js";
import { runHere } from "../src/program/run-job.js";

interface Printed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command line with what it prints. Jobs run in this thread: one of their own would read all sources again. */
export function runLfm(...argv: string[]): Promise<Printed> {
  return runLfmWith(runHere, ...argv);
}

/** The same with another way to run jobs. */
export async function runLfmWith(runJob: RunJob, ...argv: string[]): Promise<Printed> {
  let [out, err] = ["", ""];
  const io = { stdout: { write: (t: string) => (out += t) }, stderr: { write: (t: string) => (err += t) }, env: {} };
  const code = await main(argv, { io, runJob });
  return { code, out, err };
}

/** What a command that succeeds prints with --json. @throws {Error} with what it complained about */
export async function lfmJson(...argv: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await runLfm(...argv, "--json", "--quiet");
  if (code !== 0) throw new Error(err);
  return JSON.parse(out) as Record<string, unknown>;
}
