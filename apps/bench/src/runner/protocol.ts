import type { CellOutcome } from "@lfm/core";
import type { BriefError } from "./brief-error.js";

export interface Folders {
  readonly data: string | undefined;
  readonly models: string | undefined;
}

/** What a worker starts with. */
export interface WorkerInput {
  readonly catalog: string | undefined;
  readonly engine: string;
  /** Of an operation; absent: the engine's choice. */
  readonly threads: number | undefined;
  readonly folders: Folders;
}

/** How a cell ended, as the worker saw it. */
export type CellEnd =
  | { readonly status: "ok"; readonly outcome: CellOutcome; readonly wallMs: number; readonly setupMs: number }
  | { readonly status: "failed"; readonly error: BriefError; readonly wallMs: number; readonly setupMs: number }
  | { readonly status: "stopped" };
