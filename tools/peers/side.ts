import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";

const root = join(import.meta.dirname, "../..");
export const THREADS = 2;

export interface Ready {
  readonly versions: Readonly<Record<string, string>>;
}
export interface Repetition {
  readonly ms: number;
  /** What all sides must agree on, e.g. the loss after the step. */
  readonly value: number;
}
export interface End {
  readonly peakRssBytes: number;
}

/** A process that does one repetition whenever it is asked to (serve.ts, theirs/peer.py). */
export class Side {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: AsyncIterator<string>;
  private stderr = "";

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, OMP_NUM_THREADS: String(THREADS), LFM_THREADS: String(THREADS), TOKENIZERS_PARALLELISM: "false", ...env },
    });
    this.child.stderr.on("data", (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-4000);
    });
    // One that does not even start ends its output: what is read next says so.
    this.child.once("error", (error) => {
      this.stderr += String(error);
    });
    this.child.stdin.on("error", () => {});
    const reader: Interface = createInterface(this.child.stdout);
    this.lines = reader[Symbol.asyncIterator]();
  }

  /** @param job module in ours/ and its arguments */
  static ours(job: readonly string[], env: Readonly<Record<string, string>> = {}): Side {
    return new Side(process.execPath, ["--import", "tsx", "--conditions=@lfm/source", join(import.meta.dirname, "serve.ts"), ...job], env);
  }

  static theirs(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Side {
    return new Side(process.env.LFM_PYTHON ?? "python3", [join(import.meta.dirname, "theirs", script), ...args], env);
  }

  /** @throws {Error} with the end of what the process said, when it has ended early */
  async next<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the process ended early:\n${this.stderr}`);
    return JSON.parse(value) as T;
  }

  async repeat(): Promise<Repetition> {
    this.child.stdin.write("run\n");
    return this.next<Repetition>();
  }

  async end<T extends End = End>(): Promise<T> {
    this.child.stdin.write("end\n");
    return this.next<T>();
  }

  stop(): void {
    this.child.kill();
  }
}
