import { isLfmError, type Progress } from "@lfm/core";
import { ProgressLine } from "../render/progress.js";
import { exitCodes } from "./exit-codes.js";

/** Results on stdout, everything else on stderr. */
export interface Io {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Options that every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/** What one command prints through: one result, progress, notes, an error. */
export class Console {
  private readonly io: Io;
  private readonly options: CommonOptions;
  private readonly line: ProgressLine;
  /** True on a terminal: someone watches. */
  readonly interactive: boolean;

  constructor(io: Io, options: CommonOptions) {
    this.io = io;
    this.options = options;
    this.interactive = io.stderr.isTTY === true && io.env.TERM !== "dumb";
    this.line = new ProgressLine({
      isTTY: this.interactive,
      columns: io.stderr.columns ?? 80,
      write: (text) => io.stderr.write(text),
    });
  }

  /** The result: as JSON with --json, otherwise as `text` says it. */
  result(value: unknown, text: () => string): void {
    this.line.clear();
    this.io.stdout.write(this.options.json ? `${JSON.stringify(value, null, 2)}\n` : `${text()}\n`);
  }

  note(message: string): void {
    if (this.options.quiet) return;
    this.line.clear();
    this.io.stderr.write(`${message}\n`);
  }

  /** How the program ended, where that is no result and no error: said with --quiet too, for it tells what to do. */
  ending(message: string): void {
    this.line.clear();
    this.io.stderr.write(`${message}\n`);
  }

  progress(p: Progress): void {
    if (!this.options.quiet) this.line.update(p);
  }

  /** Message and hint on stderr (the stack only with --debug), the error as JSON on stdout with --json. Returns the exit code. */
  failure(error: unknown): number {
    this.line.clear();
    const known = isLfmError(error);
    const message = error instanceof Error ? error.message : String(error);
    this.io.stderr.write(`lfm: ${message.replace(/^lfm: /, "")}\n`);
    if (known && error.hint) this.io.stderr.write(`hint: ${error.hint}\n`);
    if (this.options.debug && error instanceof Error)
      this.io.stderr.write(`${error.stack}\n${error.cause instanceof Error ? `caused by ${error.cause.stack}\n` : ""}`);
    if (this.options.json)
      this.io.stdout.write(`${JSON.stringify({ error: known ? error.toJSON() : { code: "INTERNAL", message } }, null, 2)}\n`);
    if (!known) return exitCodes.failure;
    if (error.code === "ABORTED") return exitCodes.aborted;
    return error.code === "CONFIG_INVALID" || error.code === "CAPABILITY_MISSING" ? exitCodes.usage : exitCodes.failure;
  }
}
