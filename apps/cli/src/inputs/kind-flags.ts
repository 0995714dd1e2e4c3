import type { FieldInput } from "@lfm/core/method-inputs";
import type { VerbOptions } from "../program/job.js";

export interface Flag {
  /** Without dashes. */
  readonly name: string;
  /** What stands behind it, e.g. `<file>`; nothing behind a switch. */
  readonly value: string;
  readonly text: string;
  /** Must be given where its input is; with what an example says. */
  readonly example?: string;
  /** The flag that may be given in its place. */
  readonly unless?: string;
  readonly read?: (text: string) => unknown;
  /** May be given several times. */
  readonly many?: true;
  readonly default?: unknown;
  readonly choices?: readonly string[];
}

/** What the command line knows of a kind; how its values are opened stands in openers.ts. */
export interface Kind {
  flags(input: FieldInput): readonly Flag[];
  /** What can be told before anything is opened. @returns what is wrong, and a hint */
  check?(options: VerbOptions, inputs: readonly FieldInput[]): readonly [message: string, hint: string] | undefined;
}
