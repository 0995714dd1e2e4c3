import { isMainThread, MessageChannel, type MessagePort, parentPort, receiveMessageOnPort } from "node:worker_threads";
import { startWorker, workerInput } from "@lfm/core/worker";
import { LfmError } from "./errors.js";
import type { Progress } from "./method.js";
import { fromPlainError, type PlainError, plainError } from "./plain-error.js";

/** What a task in a worker may use. */
export interface TaskContext {
  /** Fires when the caller asks to stop; look at `aborted` between two steps. */
  readonly signal: AbortSignal;
  log(message: string): void;
  progress(progress: Progress): void;
}

export interface TaskOptions {
  readonly signal?: AbortSignal;
  readonly log?: (message: string) => void;
  readonly progress?: (progress: Progress) => void;
}

interface TaskInput {
  readonly input: unknown;
  readonly stop: MessagePort;
}

type FromTask =
  | { readonly type: "log"; readonly message: string }
  | { readonly type: "progress"; readonly progress: Progress }
  | { readonly type: "result"; readonly result: unknown }
  | { readonly type: "error"; readonly error: PlainError };

/** Progress closer together than this is dropped: a reader sees no more, and a message costs more than a small step. */
const PROGRESS_EVERY_MS = 50;

/**
 * Runs a task in a thread of its own, so that progress and Ctrl-C are answered while a step blocks that thread.
 * The thread is asked to stop by message and ends by itself: terminating it inside ONNX Runtime would abort the process.
 * @param entry module that calls {@link serveTask}, as for `startWorker` of `@lfm/core/worker`
 * @param input anything that can be cloned
 * @throws {LfmError} what the task threw, with its code, hint and details; INTERNAL when the thread dies
 */
export async function runTask<Output>(entry: URL, input: unknown, options: TaskOptions = {}): Promise<Output> {
  const channel = new MessageChannel();
  const worker = startWorker(entry, { workerData: { input, stop: channel.port2 } satisfies TaskInput, transferList: [channel.port2] });
  const stop = (): void => channel.port1.postMessage("stop");
  if (options.signal?.aborted) stop();
  options.signal?.addEventListener("abort", stop);
  try {
    return await new Promise<Output>((resolve, reject) => {
      worker.on("message", (message: FromTask) => {
        if (message.type === "log") options.log?.(message.message);
        else if (message.type === "progress") options.progress?.(message.progress);
        else if (message.type === "result") resolve(message.result as Output);
        else reject(fromPlainError(message.error));
      });
      worker.once("error", (cause) => reject(new LfmError("INTERNAL", `[@lfm/core] the worker failed: ${cause.message}`, { cause })));
      worker.once("exit", (code) =>
        reject(new LfmError("INTERNAL", `[@lfm/core] the worker ended with code ${code} before its task was done`)),
      );
    });
  } finally {
    options.signal?.removeEventListener("abort", stop);
    channel.port1.close();
  }
}

/** The other side: call it once in the entry module of a worker. Does nothing on the main thread. */
export function serveTask<Input, Output>(run: (input: Input, context: TaskContext) => Promise<Output>): void {
  if (isMainThread || !parentPort) return;
  const port = parentPort;
  const { input, stop } = workerInput() as TaskInput;
  const say = (message: FromTask): void => port.postMessage(message);
  const context: TaskContext = {
    signal: portSignal(stop),
    log: (message) => say({ type: "log", message }),
    progress: sparseProgress((progress) => say({ type: "progress", progress })),
  };
  void run(input as Input, context)
    .then(
      (result) => say({ type: "result", result }),
      (error: unknown) => say({ type: "error", error: plainError(error) }),
    )
    .finally(() => stop.close());
}

/** Hands reports on, but of one phase no two within 50 ms, the last one excepted. */
export function sparseProgress(report: (progress: Progress) => void): (progress: Progress) => void {
  let [phase, last] = ["", 0];
  return (progress) => {
    const now = performance.now();
    if (progress.phase === phase && progress.done < progress.total && now - last < PROGRESS_EVERY_MS) return;
    [phase, last] = [progress.phase, now];
    report(progress);
  };
}

/**
 * An AbortSignal that fires when something arrives on the port.
 * Long work seldom gives its event loop a turn, so an "abort" event alone would come late: whoever reads `aborted` looks at the port first.
 */
export function portSignal(port: MessagePort): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new Error("stop requested"));
  port.once("message", stop);
  port.unref();
  const { signal } = controller;
  const native = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!.get!;
  Object.defineProperty(signal, "aborted", {
    get: (): boolean => {
      if (!native.call(signal) && receiveMessageOnPort(port)) stop();
      return native.call(signal) as boolean;
    },
  });
  return signal;
}
