import type { MessagePort } from "node:worker_threads";
import type { CellOutcome, Progress } from "@lfm/core";
import type { PlannedCell } from "../plan.js";
import type { BriefError } from "./brief-error.js";

export interface Folders {
  readonly data: string | undefined;
  readonly models: string | undefined;
}

/** What a worker starts with. */
export interface WorkerInput {
  readonly catalog: string | undefined;
  readonly engine: string;
  readonly folders: Folders;
  /** One message on it: stop. A port of its own, so that it can be looked at in the middle of a step. */
  readonly stop: MessagePort;
}

/** How a cell ended, as the worker saw it. */
export type CellEnd =
  | { readonly status: "ok"; readonly outcome: CellOutcome; readonly wallMs: number; readonly setupMs: number }
  | { readonly status: "failed"; readonly error: BriefError; readonly wallMs: number; readonly setupMs: number }
  | { readonly status: "stopped" };

export type ToWorker = { readonly type: "run"; readonly cell: PlannedCell } | { readonly type: "end" };

export type FromWorker =
  | { readonly type: "ready"; readonly engine: string }
  | { readonly type: "unavailable"; readonly error: BriefError }
  | { readonly type: "progress"; readonly progress: Progress }
  | { readonly type: "log"; readonly message: string }
  | { readonly type: "end"; readonly end: CellEnd };
