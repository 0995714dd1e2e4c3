import type { Progress } from "@lfm/core";
import type { CommonOptions } from "./console.js";

/** What can be done in a job; `method` runs any method by what it declares. */
export type VerbName =
  | "method"
  | "plan"
  | "sweep"
  | "merge"
  | "task-vector"
  | "student"
  | "stats"
  | "trace"
  | "lens"
  | "where"
  | "index"
  | "search"
  | "ask"
  | "generate"
  | "serve"
  | "predict"
  | "eval"
  | "eval-edits"
  | "meta-adapt"
  | "meta-eval"
  | "convert"
  | "export"
  | "patch";

/** Options as commander hands them over: what is not asked of a verb is absent. */
export interface VerbOptions extends CommonOptions {
  readonly seed?: number;
  readonly engine?: string;
  readonly threads?: number;
  readonly out?: string;
  readonly preset?: string;
  readonly [option: string]: unknown;
}

/** What a job is asked: plain data, sent to the worker. */
export interface JobRequest extends VerbOptions {
  readonly method?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  /** What is asked of a method's inputs beside where they come from, by field. */
  readonly inputOptions?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** What a job hands back: plain data for --json, and the same as text. */
export interface JobResult {
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Which limit that was asked for the result passes: it is a result all the same, and the command ends with code 1. */
  readonly failed?: string;
}

/** What a job may use besides its request. */
export interface JobContext {
  readonly signal?: AbortSignal;
  log(message: string): void;
  progress(progress: Progress): void;
}

/** How a job is run. The program's own way is `runInThread`; who has no terminal to serve may run it where it is called. */
export type RunJob = (verb: VerbName, request: JobRequest, context: JobContext) => Promise<JobResult>;
